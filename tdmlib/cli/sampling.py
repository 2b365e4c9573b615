"""`tdm sample` and `tdm evaluate`: draw from a weights file, and measure what comes out."""

import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tdmlib.denoisers import Guided
from tdmlib.errors import InputError
from tdmlib.metrics.report import digits_floor, digits_report
from tdmlib.models import load_denoiser
from tdmlib.models.residual_mlp import check_labels
from tdmlib.resources import find
from tdmlib.sampling import sample


def parse_labels(text: str | None, count: int, classes: int) -> Tensor:
    """ "3" or "0,1,2", repeated to `count` labels; None cycles through all classes."""
    if text is None:
        labels = torch.arange(classes)
    else:
        try:
            labels = torch.tensor([int(part) for part in text.split(",")])
        except ValueError:
            raise InputError(
                f"labels {text!r}: write whole numbers and commas, for one 3,1,4"
            ) from None
    return check_labels(labels, classes).repeat(-(-count // len(labels)))[:count]


@torch.no_grad()
def generate(
    model: str, steps: int, count: int, seed: int, labels: str | None = None, guidance: float = 1.0
) -> tuple[Tensor, Tensor]:
    """`count` samples and their labels from a weights file, 5,000 at a time."""
    if count < 1:
        raise InputError(f"count = {count}: ask for at least one sample")
    denoiser = load_denoiser(find("data", model))
    targets = parse_labels(labels, count, denoiser.network.classes)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, *denoiser.network.shape, generator=generator)
    guided = Guided(denoiser, guidance)
    parts = [
        sample(guided, z, steps, denoiser.schedule, cond)
        for z, cond in zip(noise.split(5000), targets.split(5000), strict=True)
    ]
    return torch.cat(parts), targets


def write(path: Path, save) -> None:
    """Call save(file) on a neighbour of `path`, then rename: whole or not at all."""
    if not path.parent.is_dir():
        raise InputError(f"no folder {str(path.parent)!r} to write {path.name} to; make it first")
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            save(file)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def run_sample(model, steps, count, seed, labels, guidance, out: Path, plot: Path | None) -> None:
    images, targets = generate(model, steps, count, seed, labels, guidance)
    write(out, lambda file: np.savez(file, images=images.numpy(), labels=targets.numpy()))
    print(f"wrote {count} samples, {steps} steps each, to {out} (arrays images, labels)")
    if plot is not None:
        from tdmlib import plots

        figure = plots.sample_grid({f"{steps} steps": images[:60]}, columns=min(count, 10))
        write(plot, lambda file: figure.savefig(file, format=plot.suffix[1:] or "png", dpi=200))
        print(f"wrote a picture of the first {min(count, 60)} to {plot}")


def read_samples(path: Path) -> tuple[Tensor, Tensor | None]:
    """Images and labels, if any, of an .npz that `tdm sample` wrote, or images of an .npy."""
    try:
        content = np.load(path)
    except FileNotFoundError:
        raise InputError(f"no samples file {str(path)!r}") from None
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{str(path)!r} is no .npy or .npz file of numbers: {error}") from None
    if isinstance(content, np.ndarray):
        return torch.as_tensor(content), None
    if "images" not in content:
        raise InputError(f"{str(path)!r} holds {content.files}, not an array named images")
    labels = torch.as_tensor(content["labels"]).long() if "labels" in content else None
    return torch.as_tensor(content["images"]), labels


def run_evaluate(model, steps, count, seed, guidance, samples, out: Path | None) -> None:
    if samples is not None:
        images, labels = read_samples(samples)
        what = f"{len(images)} samples of {samples}"
        if labels is not None:
            if len(labels) != len(images):
                raise InputError(f"{samples} holds {len(images)} images but {len(labels)} labels")
            check_labels(labels, 10)
    else:
        images, labels = generate(model, steps, count, seed, guidance=guidance)
        what = f"{count} samples of {model}, {steps} steps each, seed {seed}"
    report, floor = digits_report(images, labels), digits_floor()
    print(f"{what}\n\n{'':<20}{'generated':>12}{'real train':>12}")
    for name, value in report.items():
        print(f"{name:<20}{value:>12.4f}{floor[name]:>12.4f}")
    print("\nThe right column scores the 1,400 training images in place of generated ones.")
    if out is not None:
        text = json.dumps({"what": what, "report": report, "floor": floor}, indent=2)
        write(out, lambda file: file.write(text.encode()))
        print(f"wrote {out}")
