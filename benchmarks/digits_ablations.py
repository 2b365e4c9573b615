"""The ablations record: short trainings on digits, each with one choice of the method changed.

    python benchmarks/digits_ablations.py [--work runs/digits_ablations] [--quick]

Trains and measures what is missing, so that an interrupted run goes on where it was; writes
data/results/digits_ablations.json after every choice that all seeds have tried.
"""

import argparse
import json
from pathlib import Path

from digits import COUNTS, SEEDS, TDM_YAML, UNIFY_YAML, distil, kept, quiet

from tdmlib.cli.sampling import generate
from tdmlib.metrics.report import digits_report
from tdmlib.records import write_record

SAMPLES, EPOCHS, UNIFY_EPOCHS = 10_000, 5, 10
CHOICES = {  # of `TDM`, or settings of the training, that differ from the configuration
    "base": {},
    "one": {"steps": 1},
    "l2": {"metric": "l2"},
    "clean": {"matched": "clean"},
    "full": {"interval": "full"},
    "transition": {"fake_target": "transition"},
    "transition_full": {"fake_target": "transition", "interval": "full"},
    "script": {"weight": "script"},
    "exact": {"weight": "exact", "weight_cap": 10.0},
    "fake2": {"fake_updates": 2},
    "fake5": {"fake_updates": 5},
    "fisher": {"divergence": "fisher"},
    "dpm++": {"solver": "dpm++"},
    "backpropagate": {"backpropagate": "all"},
}
UNIFY = {
    "unify": {},
    "unify_full": {"interval": "full"},
    "unify_student": {"steps_aware": "student"},
    "unify_neither": {"steps_aware": "neither"},
}
SETTINGS = ("fake_updates",)


def measure(weights: Path, counts: tuple, seed: int, solver: str) -> dict:
    """Reports by K, averaged and last; for one K also with the other solver. And the cost."""
    found = {"cost": json.loads(weights.with_name("cost.json").read_text())}

    def report(path, K, solver=solver):
        return digits_report(*generate(str(path), K, SAMPLES, 3000 + seed, solver=solver))

    for K in counts:
        found[str(K)] = report(weights, K)
        found[f"{K} last"] = report(weights.with_name("last.safetensors"), K)
    if len(counts) == 1:
        other = "ddim" if solver == "dpm++" else "dpm++"
        found[f"{K} {other}"] = report(weights, K, other)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/digits_ablations"))
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes no record")
    arguments = parser.parse_args()
    quiet()
    quick = arguments.quick
    work = arguments.work / "quick" if quick else arguments.work
    work.mkdir(parents=True, exist_ok=True)
    numbers = {}
    config = dict(
        files=[TDM_YAML, UNIFY_YAML], samples=SAMPLES, epochs=EPOCHS, unify_epochs=UNIFY_EPOCHS,
        choices=CHOICES, unify=UNIFY,
    )  # fmt: skip
    for label, choices in (CHOICES | UNIFY).items():
        changed = {k: v for k, v in choices.items() if k in SETTINGS}
        method = {k: v for k, v in choices.items() if k not in SETTINGS}
        yaml, epochs = (UNIFY_YAML, UNIFY_EPOCHS) if label in UNIFY else (TDM_YAML, EPOCHS)
        counts = COUNTS if label in UNIFY else (method.get("steps", 4),)
        runs = []
        for seed in SEEDS:
            to = work / f"{label}_seed{seed}"
            weights = distil(yaml, seed, method, to, epochs=1 if quick else epochs, **changed)
            solver = method.get("solver", "ddim")
            runs.append(kept(to / "measured.json", measure, weights, counts, seed, solver))
        numbers[label] = runs
        for K in counts:
            values = ", ".join(f"{run[str(K)]['frechet_all']:.3f}" for run in runs)
            print(f"{label}, K = {K}: Fréchet to all {values}", flush=True)
        if not quick:
            write_record("digits_ablations", numbers, config=config, seeds=list(SEEDS))


if __name__ == "__main__":
    main()
