"""`tdm sample` and `tdm evaluate`: draw from a weights file, and measure what comes out."""

import json
import os
import zlib
from contextlib import suppress
from numbers import Integral
from pathlib import Path
from typing import NamedTuple, Self, get_args
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from tdmlib.datasets.digits import CLASSES
from tdmlib.denoisers import Condition, Guided
from tdmlib.errors import InputError, check_number
from tdmlib.files import PICTURES, check_target, write_whole
from tdmlib.metrics.report import check_images, digits_floor, digits_report
from tdmlib.models import load_denoiser
from tdmlib.models.told import check_labels
from tdmlib.models.weights import read_description
from tdmlib.resources import find
from tdmlib.sampling import Solver, sample, time_grid


def parse_labels(text: str | None, count: int, classes: int) -> Tensor:
    """ "3" or "0,1,2", repeated to `count` labels; None cycles through all classes."""
    try:
        labels = range(classes) if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"labels {text!r}: write whole numbers and commas, as in 3,1,4") from None
    labels = [check_number("label", label, 0, classes - 1, whole=True) for label in labels]
    return torch.tensor(labels).repeat(-(-count // len(labels)))[:count]


class Training(NamedTuple):
    """What a weights file notes of a student's training, as far as sampling goes."""

    grids: dict[int, tuple[int, ...]]  #: levels by K
    steps: int  #: K of a student of one K, or the most of several; 4 if the file names none
    solver: Solver

    @classmethod
    def of(cls, model: str) -> Self:
        """What the network was made for, and else the notes, but for what in them makes no sense.

        Raises InputError as `load_denoiser` for a file that is missing or not one of ours.
        """
        about = read_description(find("data", model))
        config, notes = (_dict(about.get(key)) for key in ("config", "notes"))
        T = len(about["alpha"]) - 1 if isinstance(about["alpha"], list) else 0
        known = config.get("grids") or notes.get("grids")
        grids = {}
        for noted in known if isinstance(known, list) else []:
            with suppress(InputError):
                if isinstance(noted, list):
                    grid = time_grid(noted, T)
                    grids[len(grid) - 1] = grid
        counts = config.get("counts") or notes.get("steps")
        counts = [K for K in (counts if isinstance(counts, list) else [counts])
                  if isinstance(K, int) and not isinstance(K, bool) and K >= 1]  # fmt: skip
        solver = notes.get("solver")
        solver = solver if solver in get_args(Solver) else "ddim"
        return cls(grids, max([*grids] or counts, default=4), solver)


def _dict(value) -> dict:
    return value if isinstance(value, dict) else {}


def _steps(steps: int) -> str:
    return f"{steps} step{'s' * (steps != 1)}"


def _how(count: int, steps: int) -> str:
    return f"{count} samples, {_steps(steps)} each"


@torch.no_grad()
def generate(
    model: str, steps: int, count: int, seed: int, labels: str | None = None,
    guidance: float = 1.0, solver: Solver | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`count` samples and their labels from a weights file, 5,000 at a time.

    A student that has learnt guidance, or several step counts, is told; any other denoiser is
    guided from outside. The levels are those that it was trained on, if these are `steps`, and else
    spread evenly; the solver is what it was trained with, or DDIM. Raises InputError for numbers
    out of range, steps for which the student has no network, and samples that are not finite.
    """
    check_number("count", count, 1, 1_000_000, whole=True)
    check_number("seed", seed, 0, 2**63 - 1, whole=True)
    denoiser, training = load_denoiser(find("data", model)), Training.of(model)
    network = denoiser.network
    counted = isinstance(steps, Integral)
    levels = training.grids.get(steps, steps) if counted else steps
    solver = training.solver if solver is None else solver
    grid = list(time_grid(levels, network.T))
    if getattr(network, "grids", None) and grid not in network.grids:
        asked, learnt = f"levels {grid}", " and ".join(map(str, network.grids))
        if counted:
            asked, learnt = f"K = {steps}", "K = " + ", ".join(map(str, network.sizes))
        raise InputError(f"{asked}: the student has networks for {learnt}")
    targets = parse_labels(labels, count, network.classes)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, *network.shape, generator=generator)
    learnt = network.guidance is not None
    told = Condition(targets, network.counts and len(grid) - 1, guidance if learnt else None)
    guided = denoiser if learnt else Guided(denoiser, guidance)
    parts = [
        sample(guided, noise[rows], levels, denoiser.schedule, told[rows].bare(), solver)
        for rows in torch.arange(count).split(5000)
    ]
    images = torch.cat(parts)
    if not torch.isfinite(images).all():
        if guidance == 1:
            raise InputError(f"samples of {model!r:.200} are not finite: its training has failed")
        raise InputError(
            f"guidance = {guidance:g} drives the samples to infinity; take one nearer to 1"
        )
    return images, targets


def run_sample(
    model, steps: int | None, count, seed, labels, guidance, solver, out: Path, plot: Path | None
) -> None:
    check_target(out, ".npz")
    if plot is not None:
        check_target(plot, *PICTURES)
        _check_drawable(load_denoiser(find("data", model)).network.shape)
    steps = Training.of(model).steps if steps is None else steps
    images, targets = generate(model, steps, count, seed, labels, guidance, solver)
    write_whole(out, lambda file: np.savez(file, images=images.numpy(), labels=targets.numpy()))
    print(f"wrote {_how(count, steps)}, to {out} (arrays images, labels)")
    if plot is not None:
        from tdmlib import plots

        figure = plots.sample_grid({_steps(steps): images[:60]}, columns=min(count, 10))
        write_whole(plot, lambda file: figure.savefig(file, format=plot.suffix[1:], dpi=200))
        print(f"wrote a picture of the first {min(count, 60)} to {plot}")


def _check_drawable(shape: tuple[int, ...]) -> None:
    """Raise InputError unless samples are grey or colour images."""
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise InputError(
            f"samples have shape {shape}: a picture is (1, h, w) or (3, h, w); leave out --plot"
        )


def read_samples(path: Path) -> tuple[Tensor, Tensor | None]:
    """Images and labels, if any, of an .npz that `tdm sample` wrote, or images of an .npy."""
    if not os.path.isfile(path):  # false, not an error, for a name too long
        raise InputError(f"no samples file {str(path)!r:.200}")
    try:
        content = np.load(path)
        arrays = {"images": content} if isinstance(content, np.ndarray) else dict(content)
    except (
        ValueError, OSError, EOFError, BadZipFile, zlib.error, NotImplementedError, MemoryError
    ) as error:  # fmt: skip
        raise InputError(f"{str(path)!r} is no .npy or .npz file of numbers: {error}") from None
    if "images" not in arrays:
        raise InputError(f"{str(path)!r} holds {sorted(arrays)}, not an array named images")
    images = np.asarray(arrays["images"])  # a member that is no array comes as bytes
    labels = None if "labels" not in arrays else np.asarray(arrays["labels"])
    if images.dtype.kind not in "fiu":
        raise InputError(
            f"{str(path)!r} holds images of type {images.dtype}; expected real numbers"
        )
    with np.errstate(over="ignore"):  # what overflows is refused as infinite
        images = check_images(images.astype(np.float32))
    if labels is None:
        return images, None
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise InputError(
            f"{str(path)!r} holds labels of type {labels.dtype} and shape {labels.shape}; "
            f"expected whole numbers of shape {(len(images),)}"
        )
    return images, torch.as_tensor(check_labels(labels, CLASSES).astype(np.int64))


def run_evaluate(model, steps, count, seed, guidance, solver, samples, out: Path | None) -> None:
    if out is not None:
        check_target(out, ".json")
    if samples is not None:
        images, labels = read_samples(samples)
        what = f"{len(images)} samples of {samples}"
    else:
        check_number("count", count, 50, 1_000_000, whole=True)
        steps = Training.of(model).steps if steps is None else steps
        images, labels = generate(model, steps, count, seed, None, guidance, solver)
        what = f"{_how(count, steps)}, of {model}, seed {seed}"
    report, floor = digits_report(images, labels), digits_floor()
    print(f"{what}\n\n{'':<20}{'generated':>12}{'real train':>12}")
    for name, value in report.items():
        print(f"{name:<20}{value:>12.4f}{floor[name]:>12.4f}")
    print("\nThe right column scores the 1,400 training images in place of generated ones.")
    print(
        "closer_to_training: share nearer to a training image than to a test image; copies make 1."
    )
    if out is not None:
        text = json.dumps({"what": what, "report": report, "floor": floor}, indent=2)
        write_whole(out, text + "\n")
        print(f"wrote {out}")
