"""The digits record: teacher at 1 … 100 steps, TDM at 1 … 8 and TDM-unify, over three seeds.

Beside these, what each choice of the four-step student is worth: the same training with another.

    python benchmarks/digits.py [--work runs/digits] [--unify] [--quick]

Trains what is missing, so that an interrupted run goes on where it was; writes
data/results/digits.json and, from seed 0, the weights of TDM-4, TDM-1 and TDM-unify beside it.
--unify measures TDM-unify alone, carries over what else the record holds, and says so in it.
"""

import argparse
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import torch

from tdmlib import plots
from tdmlib.cli.sampling import generate
from tdmlib.datasets.digits import CLASSES, SHAPE, digits
from tdmlib.metrics.bootstrap import frechet_gap, interval, kernel_gap
from tdmlib.metrics.classifier import features_and_classes
from tdmlib.metrics.neighbours import nearest
from tdmlib.metrics.report import class_variance, digits_floor, digits_report
from tdmlib.models import load_denoiser, save_denoiser
from tdmlib.records import read_record, revisions, write_record
from tdmlib.resources import find, folder
from tdmlib.sampling import trajectory

TEACHER_STEPS = (1, 2, 4, 8, 25, 100)
SEEDS = (0, 1, 2)
STUDENT_STEPS = (4, 1, 2, 8)
UNIFY_STEPS = (1, 2, 4, 8)  # of one student
JUDGED = ("tdm4", "tdm1", "unify4")  # against the teacher, by the bootstrap
SHIPPED = {"tdm4": {"steps": 4}, "tdm1": {"steps": 1}, "unify": {"counts": UNIFY_STEPS}}
VARIANTS = {  # of the four-step student: the choices of `TDM` that differ from the config
    "transition": {"fake_target": "transition"},
    "transition_full": {"fake_target": "transition", "interval": "full"},
    "denoised_full": {"interval": "full"},
    "clean": {"matched": "clean"},
}
PARALLEL = 2  # trainings at once, each on one thread
CONFIG, UNIFY = "configs/digits_tdm.yaml", "configs/digits_unify.yaml"


def train(work: Path, name: str, seed: int, quick: bool, **choices) -> Path:
    """The weights of one student, trained by the command that users have."""
    config = UNIFY if name == "unify" else CONFIG
    run = (work / f"{name}_seed{seed}").resolve()
    weights = run / "runs" / Path(config).stem / "student.safetensors"
    if weights.exists():
        return weights
    run.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tdmlib", "fit", "--config", config]
    for choice, value in choices.items():
        command += [f"--model.init_args.method.init_args.{choice}={value}"]
    command += [f"--model.init_args.seed={seed}"]
    if quick:
        command += ["--trainer.max_epochs=2"]
    if weights.with_name("last.ckpt").exists():
        command += ["--ckpt_path=last"]
    begin = time.perf_counter()
    subprocess.run(command, cwd=run, check=True, stdout=subprocess.DEVNULL)
    print(f"trained {name}, seed {seed}, in {time.perf_counter() - begin:.0f} s", flush=True)
    return weights


def closeness(distance: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Distances to the nearest training image, beside those of `real` test images."""
    low = np.quantile(real, 0.01)
    return {
        "closest_percent": float(np.quantile(distance, 0.01)),
        "median": float(np.median(distance)),
        "share_closer": float(np.mean(distance < low)),  # than the closest 1% of real ones
    }


def curves(weights: Path) -> dict[str, list]:
    """What the run logged: name -> [[update, value], …], about forty points each."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(weights.parent)).Reload()
    found = {}
    for name, tag in (("frechet", "frechet"), ("student_loss", "student_loss_step"),
                      ("fake_loss", "fake_loss_step")):  # fmt: skip
        tag = tag if tag in log.Tags()["scalars"] else name
        points = log.Scalars(tag)
        kept = points[:: max(1, len(points) // 40)]
        found[name] = [[p.step + 1, round(p.value, 5)] for p in kept]
    return found


def measure(weights: str, steps: int, count: int, seed: int) -> tuple[dict, np.ndarray, np.ndarray]:
    """(report, features, distances to the nearest training image)."""
    images, labels = generate(str(weights), steps, count, seed)
    report = digits_report(images, labels)
    print(f"{Path(weights).stem}, {steps} steps: Fréchet {report['frechet_test']:.3f} to test, "
          f"{report['frechet_all']:.3f} to all", flush=True)  # fmt: skip
    train, _ = digits()
    return (
        report,
        features_and_classes(images)[0].numpy(),
        nearest(images, train.images),
    )


@torch.no_grad()
def variance_by_level(weights: str | Path, steps: int) -> list[list[float]]:
    """[[t, variance within classes], …] of what a sampler passes through, from t = T to 0."""
    denoiser = load_denoiser(find("data", str(weights)))
    noise = torch.randn(5000, *SHAPE, generator=torch.Generator().manual_seed(4))
    labels = torch.arange(len(noise)) % CLASSES
    path = trajectory(denoiser, noise, steps, denoiser.schedule, labels)
    return [[t, class_variance(z, labels)] for t, z, _ in path]


def picture(path: Path) -> Path:
    """The same noise through teacher and students, for README."""
    rows = {}
    for label, weights, steps in (
        ("teacher, 25 steps", "teacher", 25), ("teacher, 4 steps", "teacher", 4),
        ("TDM, 4 steps", "tdm4", 4), ("TDM, 1 step", "tdm1", 1),
    ):  # fmt: skip
        rows[label], _ = generate(f"digits_{weights}.safetensors", steps, 10, seed=8)
    plots.use_style()
    plots.sample_grid(rows).savefig(path, dpi=150)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/digits"))
    parser.add_argument("--unify", action="store_true", help="keep the record's other rows")
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes no record")
    arguments = parser.parse_args()
    quick, count = arguments.quick, 2000 if arguments.quick else 50_000
    work = arguments.work / "quick" if quick else arguments.work
    torch.set_flush_denormal(True)

    old = read_record("digits") if arguments.unify else None
    wanted = {f"tdm{steps}": {"steps": steps} for steps in STUDENT_STEPS} | {"unify": {}} | VARIANTS
    wanted = {"unify": {}} if old else wanted
    with ThreadPoolExecutor(PARALLEL) as pool:
        trained = {
            (name, seed): pool.submit(train, work, name, seed, quick, **choices)
            for (name, choices), seed in product(wanted.items(), SEEDS)
        }
        trained = {key: future.result() for key, future in trained.items()}
    train_split, test = digits()
    every = torch.cat([train_split.images, test.images])
    references = {
        "test": (features_and_classes(test.images)[0].numpy(), test.labels),
        "all": (
            features_and_classes(every)[0].numpy(),
            torch.cat([train_split.labels, test.labels]),
        ),
    }
    real = nearest(test.images, train_split.images)
    teacher, features, neighbours = {}, {}, {"real_test": closeness(real, real)}
    for steps in (25, 100) if old else TEACHER_STEPS:
        report, features[steps], distance = measure(
            "digits_teacher.safetensors", steps, count, seed=1000
        )
        teacher[str(steps)] = report
        neighbours[f"teacher_{steps}"] = closeness(distance, real)

    numbers = {
        "samples": count,
        "floor": digits_floor(),
        "teacher": teacher,
        "students": {str(steps): [] for steps in STUDENT_STEPS},
        "unify": {str(steps): [] for steps in UNIFY_STEPS},
        "variants": {name: [] for name in VARIANTS},
        "variance_by_level": {"teacher": [variance_by_level("digits_teacher.safetensors", 4)]},
        "gaps": {},
        "curves": {},
        "neighbours": neighbours,
    }
    if old:
        neighbours = old["numbers"]["neighbours"]
        numbers = old["numbers"] | {"samples": count, "unify": numbers["unify"]}
    gaps = defaultdict(list)
    asked = [] if old else [("students", "tdm", steps) for steps in STUDENT_STEPS]
    asked += [("unify", "unify", steps) for steps in UNIFY_STEPS]
    for (table, kind, steps), seed in product(asked, SEEDS):
        name = f"{kind}{steps}"
        weights = trained["unify" if kind == "unify" else name, seed]
        report, ours, distance = measure(weights, steps, count, seed=2000 + seed)
        numbers[table][str(steps)].append(report)
        neighbours[f"{name}_seed{seed}"] = closeness(distance, real)
        if kind == "tdm":
            numbers["curves"][f"{name}_seed{seed}"] = curves(weights)
        if name not in JUDGED:
            continue
        for against, (reference_name, (reference, labels)) in product(
            (25, 100), references.items()
        ):
            rivals = ours, features[against], reference, labels
            key = f"{name}_SEED_minus_teacher{against}_{reference_name}"
            gaps[key, "frechet"].append(frechet_gap(*rivals, 20 if quick else 400))
            gaps[key, "kid"].append(kernel_gap(*rivals))
    for name, seed in product(() if old else VARIANTS, SEEDS):
        report, _, _ = measure(trained[name, seed], 4, count, seed=2000 + seed)
        numbers["variants"][name].append(report)
    for name in () if old else ("tdm4", "transition"):
        levels = [variance_by_level(trained[name, seed], 4) for seed in SEEDS]
        numbers["variance_by_level"][name] = levels
    for (key, distance), runs in gaps.items():
        # every seed met the same resampled images, so that their mean is a bootstrap of the mean
        for label, values in [*zip(SEEDS, runs, strict=True), ("mean", np.mean(runs, axis=0))]:
            name = key.replace("SEED", f"seed{label}" if label != "mean" else "mean")
            numbers["gaps"].setdefault(name, {})[distance] = interval(values)
            print(name, distance, numbers["gaps"][name][distance], flush=True)
    if quick:
        return
    for name, grid in ({"unify": SHIPPED["unify"]} if old else SHIPPED).items():
        path = folder("data") / f"digits_{name}.safetensors"
        student = load_denoiser(trained[name, 0])
        notes = dict(trained_with=UNIFY if name == "unify" else CONFIG, seed=0) | grid
        print(f"wrote {save_denoiser(path, student, torch.float16, **notes)}")
    if not old:
        print(f"wrote {picture(folder('data') / 'results/digits.png')}")
    config = {
        "file": CONFIG, "unify": UNIFY, "samples": count, "teacher_steps": TEACHER_STEPS,
        "student_steps": STUDENT_STEPS, "unify_steps": UNIFY_STEPS, "variants": VARIANTS,
    }  # fmt: skip
    many = ("gaps", "neighbours")  # of one row for each student
    kept = [row for row in numbers if row not in ("samples", "unify", *many)]
    kept += [row for table in many for row in numbers[table] if "unify" not in row]
    earlier = revisions("digits", kept) if old else None
    path = write_record("digits", numbers, config=config, seeds=list(SEEDS), earlier=earlier)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
