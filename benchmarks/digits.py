"""The digits record: the teacher, TDM at 1 … 8 steps, TDM-unify and guidance, over three seeds.

    python benchmarks/digits.py [--work runs/digits] [--quick]

Trains and measures what is missing, so that an interrupted run goes on where it was; writes
data/results/digits.json and, from seed 0, the weights of three students.
"""

import argparse
import json
import logging
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from functools import cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tdm_mixtures import held_bytes

from tdmlib import plots
from tdmlib.cli.sampling import generate
from tdmlib.datasets.digits import CLASSES, SHAPE, digits
from tdmlib.distill.lit import ScoreDistillation
from tdmlib.distill.monitor import DigitsMonitor
from tdmlib.distill.tdm import TDM
from tdmlib.metrics.bootstrap import frechet_gap, interval, kernel_gap
from tdmlib.metrics.classifier import features_and_classes
from tdmlib.metrics.neighbours import nearest
from tdmlib.metrics.report import class_variance, digits_floor, digits_report
from tdmlib.models import load_denoiser, save_denoiser
from tdmlib.records import write_record
from tdmlib.resources import find, folder
from tdmlib.sampling import trajectory

SEEDS, SAMPLES, RESAMPLES = (0, 1, 2), 20_000, 200
TEACHER = "digits_teacher.safetensors"
TEACHER_STEPS, GUIDED_STEPS, GUIDANCE = (1, 2, 4, 8, 25, 100), (1, 2, 4, 8, 25), 2.0
TDM_YAML, UNIFY_YAML = "digits_tdm.yaml", "digits_unify.yaml"
COUNTS = (1, 2, 4, 8)
STUDENTS = {f"tdm{K}": (TDM_YAML, {"steps": K}) for K in COUNTS} | {
    "unify": (UNIFY_YAML, {}),
    "guided": (TDM_YAML, {"steps": 4, "guidance": (1.0, 3.0)}),
}  # label: the configuration, and the choices of `TDM` that differ from it
SHIPPED = {"tdm4": "digits_tdm4", "tdm1": "digits_tdm1", "unify": "digits_unify"}


def settings(config: str) -> tuple[dict, int]:
    """What a shipped configuration gives `ScoreDistillation`, and its number of epochs."""
    told = yaml.safe_load(find("configs", config).read_text())
    init = told["model"]["init_args"]
    init["method"] = init["method"]["init_args"]
    for name in ("student_optimizer", "fake_optimizer"):
        init[name] = partial(torch.optim.AdamW, **init[name]["init_args"])
    return init, told["trainer"]["max_epochs"]


def distil(config: str, seed: int, method: dict, to: Path, epochs=None, **changed) -> Path:
    """The weights of a student, trained as `tdm fit` would but for some choices; once.

    Beside them lie the last student, not averaged, and what the training cost: seconds of CPU an
    update, and the bytes that autograd holds of a rollout.
    """
    weights = to / "student.safetensors"
    if (to / "cost.json").exists():
        return weights
    init, wanted = settings(config)
    epochs, method = epochs or wanted, init.pop("method") | method
    run = ScoreDistillation(method=partial(TDM, **method), **init | changed | {"seed": seed})
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", log_every_n_steps=10, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
        logger=TensorBoardLogger(to.parent, name=to.name, version=""),
        callbacks=[DigitsMonitor(every=max(1, epochs // 12))],
    )  # fmt: skip
    begin = time.process_time()
    trainer.fit(run)
    seconds = time.process_time() - begin
    save_denoiser(to / "last.safetensors", run.student)
    cost = {"updates": int(run.update), "seconds": seconds / int(run.update)}
    (to / "cost.json").write_text(json.dumps(cost | {"held_bytes": held_bytes(run)}))
    print(f"trained {to.name}: {cost['updates']} updates in {seconds:.0f} s of CPU", flush=True)
    return weights


def kept(path: Path, measure, *arguments):
    """What was measured before and lies at `path`, or else is measured now."""
    if not path.exists():
        path.write_text(json.dumps(measure(*arguments)))
    return json.loads(path.read_text())


@cache
def reference(name: str) -> tuple[np.ndarray, torch.Tensor]:
    """(features, labels) of the test images, or of all."""
    train, test = digits()
    sets = {"test": [test], "all": [train, test]}[name]
    images, labels = (torch.cat(part) for part in zip(*sets, strict=True))
    return features_and_classes(images)[0].numpy(), labels


def closeness(distance: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Distances to the nearest training image, beside those of `real` test images."""
    low = np.quantile(real, 0.01)
    return {
        "closest_percent": float(np.quantile(distance, 0.01)),
        "median": float(np.median(distance)),
        "share_closer": float(np.mean(distance < low)),  # than the closest 1% of real ones
    }


def real_distances() -> np.ndarray:
    train, test = digits()
    return nearest(test.images, train.images)


def curves(weights: Path) -> dict[str, list]:
    """What the run logged: name -> [[update, value], …], about forty points each."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log, found = EventAccumulator(str(weights.parent)).Reload(), {}
    for tag in log.Tags()["scalars"]:
        if tag.startswith("frechet") or tag.removesuffix("_step").endswith("_loss"):
            points = log.Scalars(tag)
            shown = points[:: max(1, len(points) // 40)]
            found[tag.removesuffix("_step")] = [[p.step + 1, round(p.value, 5)] for p in shown]
    return found


def measure(weights: str | Path, steps: int, guidance: float, seed: int, features: Path) -> dict:
    """The report on `SAMPLES` samples, and how close they come to training images."""
    images, labels = generate(str(weights), steps, SAMPLES, seed, guidance=guidance)
    np.save(features, features_and_classes(images)[0].numpy())
    report = digits_report(images, labels)
    print(f"{features.stem}: Fréchet {report['frechet_test']:.3f} to test, "
          f"{report['frechet_all']:.3f} to all", flush=True)  # fmt: skip
    distance = nearest(images, digits()[0].images)
    return {"report": report, "neighbours": closeness(distance, real_distances())}


@torch.no_grad()
def variance_by_level(weights: str | Path, steps: int) -> list[list[float]]:
    """[[t, variance within classes], …] of what a sampler passes through, from t = T to 0."""
    denoiser = load_denoiser(find("data", str(weights)))
    noise = torch.randn(5000, *SHAPE, generator=torch.Generator().manual_seed(4))
    labels = torch.arange(len(noise)) % CLASSES
    path = trajectory(denoiser, noise, steps, denoiser.schedule, labels)
    return [[t, class_variance(z, labels)] for t, z, _ in path]


def gaps(ours: Path, theirs: Path) -> dict:
    """Resampled differences of distances, {"frechet_test": […], …}."""
    rivals, found = [np.load(path) for path in (ours, theirs)], {}
    for name in ("test", "all"):
        found[f"frechet_{name}"] = frechet_gap(*rivals, *reference(name), RESAMPLES).tolist()
        found[f"kid_{name}"] = kernel_gap(*rivals, *reference(name), RESAMPLES).tolist()
    return found


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


def samplers(label: str) -> Iterator[tuple[int, float]]:
    """(K, guidance) at which a student is measured."""
    if label == "guided":
        yield from ((4, scale) for scale in (1.0, GUIDANCE))
    else:
        yield from ((K, 1.0) for K in (COUNTS if label == "unify" else (int(label[3:]),)))


def quiet() -> None:
    """One thread, no denormal numbers, no chatter."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/digits"))
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes no record")
    arguments = parser.parse_args()
    quiet()
    quick = arguments.quick
    work = arguments.work / "quick" if quick else arguments.work
    work.mkdir(parents=True, exist_ok=True)

    def measured(label, weights, K, guidance=1.0, seed=1000):
        key = f"{label}_{K}" + f"_guidance{guidance:g}" * (guidance != 1)
        found = kept(work / f"{key}.json", measure, weights, K, guidance, seed, work / f"{key}.npy")
        return found["report"], found["neighbours"]

    numbers = {
        "samples": SAMPLES, "floor": digits_floor(), "teacher": {}, "teacher_guided": {},
        "students": defaultdict(list), "variance_by_level": {}, "gaps": {}, "curves": {},
        "neighbours": {"real_test": closeness(real_distances(), real_distances())},
    }  # fmt: skip
    trained = {}
    for (label, (config, method)), seed in product(STUDENTS.items(), SEEDS):
        to = work / f"{label}_seed{seed}"
        trained[label, seed] = distil(config, seed, method, to, epochs=1 if quick else None)
        numbers["curves"][f"{label}_seed{seed}"] = curves(trained[label, seed])
    for scale, steps in ((1.0, TEACHER_STEPS), (GUIDANCE, GUIDED_STEPS)):
        for K in steps:
            report, close = measured("teacher", TEACHER, K, scale)
            numbers["teacher" if scale == 1 else "teacher_guided"][str(K)] = report
            if scale == 1:
                numbers["neighbours"][f"teacher_{K}"] = close
    for (label, seed), weights in trained.items():
        for K, scale in samplers(label):
            report, close = measured(f"{label}_seed{seed}", weights, K, scale, 2000 + seed)
            name = f"{label}_{K}" if label == "unify" else label
            name += f"_guidance{scale:g}" * (label == "guided")
            numbers["students"][name].append(report)
            if K == 4 and scale == 1:
                numbers["neighbours"][f"{label}_seed{seed}"] = close
    levels = numbers["variance_by_level"]
    levels["teacher"] = [variance_by_level(TEACHER, 4)]
    levels["tdm4"] = [variance_by_level(trained["tdm4", seed], 4) for seed in SEEDS]
    for label, against in (("tdm4", 25), ("tdm4", 100), ("unify", 25)):
        name, rival = f"{label}_SEED_minus_teacher{against}", work / f"teacher_{against}.npy"
        runs = [
            kept(work / f"gap_{name.replace('SEED', str(seed))}.json", gaps,
                 work / f"{label}_seed{seed}_4.npy", rival) for seed in SEEDS
        ]  # fmt: skip
        for distance in runs[0]:
            # every seed met the same resampled images: their mean is a bootstrap of the mean
            each = [run[distance] for run in runs]
            for which, values in [*enumerate(each), ("mean", np.mean(each, axis=0))]:
                which = which if which == "mean" else f"seed{SEEDS[which]}"
                kind, real = distance.split("_")
                gap = numbers["gaps"].setdefault(f"{name.replace('SEED', which)}_{real}", {})
                gap[kind] = interval(values)
    if quick:
        return
    for label, name in SHIPPED.items():
        path = folder("data") / f"{name}.safetensors"
        config, method = STUDENTS[label]
        notes = dict(trained_with=f"configs/{config}", seed=0) | method
        save_denoiser(path, load_denoiser(trained[label, 0]), torch.float16, **notes)
        print(f"wrote {path}")
    print(f"wrote {picture(folder('data') / 'results/digits.png')}")
    config = {
        "files": [TDM_YAML, UNIFY_YAML], "samples": SAMPLES, "teacher_steps": TEACHER_STEPS,
        "guidance": GUIDANCE, "students": {k: v[1] for k, v in STUDENTS.items()},
    }  # fmt: skip
    print(f"wrote {write_record('digits', numbers, config=config, seeds=list(SEEDS))}")


if __name__ == "__main__":
    main()
