"""The ablations record: short trainings on digits, by step count, guidance and single choices.

    python benchmarks/digits_ablations.py [--work runs/digits_ablations] [--extend [LABEL …]]
        [--quick]

Trains and measures what is missing, so that an interrupted run goes on where it was; writes
data/results/digits_ablations.json after every choice that all seeds have tried. --extend carries
over what the record holds already, of the same settings, but for rows named after it, and says so.
"""

import argparse
import logging
import time
import warnings
from functools import partial
from pathlib import Path

import torch
from kept import carried, kept
from lightning.pytorch import Trainer
from tdm_mixtures import held_bytes

from tdmlib.cli.sampling import generate
from tdmlib.distill.lit import ScoreDistillation
from tdmlib.distill.tdm import TDM
from tdmlib.metrics.report import digits_report
from tdmlib.models import save_denoiser
from tdmlib.records import write_record

SEEDS, SAMPLES = (0, 1, 2), 10_000
EPOCHS = 4
METHOD = dict(interval="separate", fake_target="denoised")
TRAINING = dict(batch_size=128, updates_per_epoch=50, fake_updates=1, ema=0.99)
RATES = dict(student_optimizer=4e-4, fake_optimizer=1e-3)
TEACHER, GUIDANCE = "digits_teacher.safetensors", (1.0, 2.0)
ASKED = ((4, 1.0, "dpm++"), *((K, GUIDANCE[1], "ddim") for K in (1, 2, 4, 8, 25, 100)))
COUNTS = (1, 2, 4, 8)
TOLD = {"counts": COUNTS}  # trained for as many samples of each K
UNIFY = TOLD | {"fake_by_count": True}
CHOICES = {
    "tdm4": {},
    "tdm1": {"steps": 1},
    "tdm2": {"steps": 2},
    "tdm8": {"steps": 8},
    "unify": UNIFY,
    "l2": {"metric": "l2"},
    "backpropagate": {"backpropagate": "all"},
    "exact": {"weight": "exact", "weight_cap": 10.0},
    "dpm++": {"solver": "dpm++"},
    "fake2": {"fake_updates": 2},
    "fisher": {"divergence": "fisher"},
    "unify_neither": TOLD | {"steps_aware": "neither"},
    "guided": {"guidance": (1.0, 3.0)},
    "script": {"weight": "script"},
    "full": {"interval": "full"},
    "full_told": {"interval": "full", "fake_sees_origin": True},
    "clean": {"matched": "clean"},
    "transition": {"fake_target": "transition"},
    "fake5": {"fake_updates": 5},
    "unify_full": UNIFY | {"interval": "full"},
    "unify_student": TOLD | {"steps_aware": "student"},
    "guided1": {"steps": 1, "guidance": (1.0, 3.0)},
    "guided2": {"steps": 2, "guidance": (1.0, 3.0)},
    "guided_unify": UNIFY | {"guidance": (1.0, 3.0)},
    "unify_one_fake": TOLD,
}  # of `TDM`, or of the training, that differ from the above
COMPARED = {"teacher", "tdm4", "tdm1", "tdm2", "tdm8", "unify"}  # the least that a record holds
OF_TRAINING = ("fake_updates", "fake_by_count")


def distil(seed: int, choices: dict, epochs: int, to: Path) -> dict:
    """Train a student, averaged and last in the folder `to`; what an update costs."""
    changed = {k: v for k, v in choices.items() if k in OF_TRAINING}
    method = METHOD | {k: choices[k] for k in choices.keys() - changed}
    adamw = partial(torch.optim.AdamW, betas=(0.0, 0.99), weight_decay=0.0, fused=True)
    optimizers = {name: partial(adamw, lr=rate) for name, rate in RATES.items()}
    run = ScoreDistillation(
        TEACHER, partial(TDM, **method), **TRAINING | optimizers | changed, seed=seed
    )
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    begin = time.process_time()
    trainer.fit(run)
    seconds = (time.process_time() - begin) / int(run.update)
    for name, student in (("average", run.average.module), ("last", run.student)):
        save_denoiser(to / f"{name}.safetensors", student)
    return {"updates": int(run.update), "seconds": seconds, "held_bytes": held_bytes(run)}


def measure(seed: int, choices: dict, epochs: int, to: Path) -> dict:
    """Reports by K and what else differs: no average, the other solver, guidance. And the cost."""
    found = {"cost": distil(seed, choices, epochs, to)}
    counts = choices.get("counts", (choices.get("steps", 4),))
    solvers = ["ddim", "dpm++"]
    if choices.get("solver") == "dpm++":
        solvers.reverse()

    def report(K, name="average", **kwargs):
        kwargs = {"solver": solvers[0]} | kwargs
        return digits_report(*generate(str(to / f"{name}.safetensors"), K, SAMPLES, 3000 + seed,
                                       **kwargs))  # fmt: skip

    for K in counts:
        found[str(K)] = report(K)
        if choices.get("guidance"):
            found[f"{K} guided"] = report(K, guidance=GUIDANCE[1])
        if choices == {} or "solver" in choices:
            found[f"{K} last"] = report(K, "last")
            found[f"{K} {solvers[1]}"] = report(K, solver=solvers[1])
    return found


def teacher() -> dict:
    """The teacher's reports by guidance, steps and solver."""
    return {
        f"{K} {solver}" + " guided" * (scale != 1): digits_report(
            *generate(TEACHER, K, SAMPLES, 1000, guidance=scale, solver=solver)
        )
        for K, scale, solver in ASKED
    }


def made(config: dict) -> dict:
    """What went into each row of a record of this configuration."""
    common = {k: v for k, v in config.items() if k not in ("choices", "asked")}
    rows = {(label,): [common, choices] for label, choices in config["choices"].items()}
    return {("teacher",): [common, config.get("asked")]} | rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/digits_ablations"))
    parser.add_argument("--extend", nargs="*", metavar="LABEL",
                        help="keep what the record holds, but for these rows")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes no record")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    quick = arguments.quick
    work = arguments.work / "quick" if quick else arguments.work
    config = dict(
        teacher=TEACHER, method=METHOD, training=TRAINING, rates=RATES, samples=SAMPLES,
        guidance=GUIDANCE, epochs=EPOCHS, choices=CHOICES, asked=ASKED,
    )  # fmt: skip
    old, earlier = {}, None
    if arguments.extend is not None:
        old, earlier = carried("digits_ablations", config, SEEDS, made, arguments.extend)
    numbers = {label: found for (label,), found in old.items()}
    how = {k: v for k, v in config.items() if k not in ("choices", "asked")}
    if "teacher" not in numbers:
        numbers["teacher"] = kept(work / "teacher/found.json", [how, ASKED], teacher)
    for label, choices in CHOICES.items():
        if label in numbers:
            continue
        epochs = 1 if quick else EPOCHS * len(choices.get("counts", [0]))
        numbers[label] = []
        for seed in SEEDS:
            to = work / f"{label}_{epochs}epochs_seed{seed}"
            found = kept(to / "found.json", how, measure, seed, choices, epochs, to)
            numbers[label].append(found)
            short = {k: round(v["frechet_all"], 3) for k, v in found.items() if "frechet_all" in v}
            print(to.name, short, flush=True)
        if not quick and COMPARED <= numbers.keys():
            write_record(
                "digits_ablations", numbers, config=config, seeds=list(SEEDS), earlier=earlier
            )


if __name__ == "__main__":
    main()
