"""The TDM record on mixtures whose score is known: the teacher, students, and one choice at a time.

    python benchmarks/tdm_mixtures.py [--work runs/tdm_mixtures] [--main] [--quick]

Trains what is missing, so that an interrupted run goes on where it was; writes
data/results/tdm_mixtures.json, after the main table (--main stops there) and after every choice.
"""

import argparse
import json
import logging
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import product
from pathlib import Path

import torch

from tdmlib.denoisers import MixtureDenoiser
from tdmlib.distill.exact import mixture_distillation, train
from tdmlib.distill.tdm import TDM
from tdmlib.metrics.modes import mode_recovery
from tdmlib.metrics.quasi import quasi_noise, quasi_sample
from tdmlib.metrics.swd import sliced_wasserstein
from tdmlib.nonlinear import planar_mixtures
from tdmlib.records import write_record
from tdmlib.sampling import sample
from tdmlib.schedules import cosine

T, SAMPLES, PROJECTIONS = 1000, 2**17, 64
TEACHER_STEPS, SEEDS = (1, 2, 4, 8, 25, 100), (0, 1, 2)
BASE = dict(fake_target="transition", margin=60)
SETTINGS = dict(
    updates_per_epoch=3000, batch_size=512, rate=4e-4, fake_rate=1.5e-3, ema=0.995, last_rate=0.02
)
UNIFY = dict(counts=(1, 2, 4), margin=60)
STUDENTS = {
    "tdm4": {"steps": 4}, "tdm1": {"steps": 1}, "tdm2": {"steps": 2}, "unify": UNIFY,
}  # fmt: skip
ABLATED = "uneven"  # of the students of this mixture one choice at a time is changed
CHOICES = {  # choices of `TDM`, or settings of the training, that differ from those of tdm4
    "l2": {"metric": "l2"},
    "clean": {"matched": "clean"},
    "full": {"interval": "full"},
    "denoised": {"fake_target": "denoised"},
    "denoised_script": {"fake_target": "denoised", "weight": "script"},
    "denoised_exact": {"fake_target": "denoised", "weight": "exact", "weight_cap": 10.0},
    "fisher": {"divergence": "fisher"},
    "backpropagate": {"backpropagate": "all"},
    "dpm++": {"solver": "dpm++"},
    "fake2": {"fake_updates": 2},
    "fake5": {"fake_updates": 5},
    "unify_student": UNIFY | {"steps_aware": "student"},
    "unify_neither": UNIFY | {"steps_aware": "neither"},
    "unify_full": UNIFY | {"interval": "full"},
}


@cache
def reference(name: str, seed: int = 1) -> torch.Tensor:
    return quasi_sample(planar_mixtures()[name], SAMPLES, seed)


def report(x: torch.Tensor, name: str) -> dict[str, float]:
    """Sliced W₂ to the data and what became of the modes."""
    distance = sliced_wasserstein(x, reference(name), PROJECTIONS)
    return {"swd": distance} | mode_recovery(x, planar_mixtures()[name])


@torch.no_grad()
def teacher(name: str) -> dict[str, dict]:
    """Reports of the teacher by its steps and solver, and of true samples."""
    schedule, mixture = cosine(T), planar_mixtures()[name]
    exact, noise = MixtureDenoiser(schedule, mixture), quasi_noise(SAMPLES, 2, seed=5)
    reports = {str(k): report(sample(exact, noise, k, schedule), name) for k in TEACHER_STEPS}
    for k in TEACHER_STEPS:
        reports[f"{k} dpm++"] = report(sample(exact, noise, k, schedule, solver="dpm++"), name)
    reports["floor"] = report(reference(name, seed=2), name)
    reports["floor of independent samples"] = report(mixture.sample(SAMPLES, seed=3), name)
    return reports


def held_bytes(run) -> int:
    """What autograd keeps of a rollout."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    start = run.method.start(run.batch_size, run.shape, torch.Generator().manual_seed(0))
    start.step.zero_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        rollout = run.method.rollout(run.student, start)
    assert rollout.x_i.requires_grad
    return sum(kept.values())


@torch.no_grad()
def student(name: str, seed: int, choices: dict, quick: bool) -> dict:
    """Train one student, and report on it by its step counts and by solver, averaged and last."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    changed = {k: choices[k] for k in choices if k in ("fake_updates",)}
    method = BASE | {k: v for k, v in choices.items() if k not in changed}
    settings = SETTINGS | changed | ({"updates_per_epoch": 20} if quick else {})
    begin = time.process_time()
    run = mixture_distillation(
        planar_mixtures()[name], lambda schedule: TDM(schedule, **method), cosine(T),
        seed=seed, **settings,
    )  # fmt: skip
    with torch.enable_grad():
        train(run)
        found = {"held_bytes": held_bytes(run)}
    found["seconds"] = (time.process_time() - begin) / settings["updates_per_epoch"]
    noise = quasi_noise(SAMPLES, 2, seed=100 + seed)
    for K in run.method.counts or (run.method.steps,):
        for key, network in ((f"{K}", run.average.module), (f"{K} last", run.student)):
            found[key] = report(run.method.sample(network, noise, steps=K), name)
        other = "ddim" if run.method.solver == "dpm++" else "dpm++"
        if run.method.counts is None:
            x = sample(run.average.module, noise, K, cosine(T), solver=other)
            found[f"{K} {other}"] = report(x, name)
    return found


def kept(work: Path, key: str, measure, *arguments):
    """What was measured before under this key, or else is measured now."""
    path = work / f"{key}.json"
    if not path.exists():
        found = measure(*arguments)
        path.write_text(json.dumps(found))
        short = {k: round(v["swd"], 4) for k, v in found.items() if isinstance(v, dict)}
        print(key, short, flush=True)
    return json.loads(path.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/tdm_mixtures"))
    parser.add_argument("--main", action="store_true", help="the main table alone")
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes no record")
    arguments = parser.parse_args()
    quick = arguments.quick
    work = arguments.work / "quick" if quick else arguments.work
    work.mkdir(parents=True, exist_ok=True)
    seeds = SEEDS[:1] if quick else SEEDS
    names = list(planar_mixtures())
    config = dict(
        T=T, samples=SAMPLES, projections=PROJECTIONS, base=BASE, settings=SETTINGS,
        students=STUDENTS, choices=CHOICES, ablated=ABLATED,
    )  # fmt: skip
    with ProcessPoolExecutor(2) as pool:  # one thread each

        def ask(key, *task):
            return pool.submit(kept, work, key, *task)

        def students(label, choices, name):
            return [ask(f"{name}_{label}_seed{seed}", student, name, seed, choices, quick)
                    for seed in seeds]  # fmt: skip

        teachers = {name: ask(f"{name}_teacher", teacher, name) for name in names}
        runs = {
            (name, label): students(label, choices, name)
            for (label, choices), name in product(STUDENTS.items(), names)
        }
        if not arguments.main:
            runs |= {
                (ABLATED, label): students(label, choices, ABLATED)
                for label, choices in CHOICES.items()
            }
        numbers = {name: {"teacher": teachers[name].result()} for name in names}
        for n, ((name, label), futures) in enumerate(runs.items(), 1):
            numbers[name][label] = [future.result() for future in futures]
            if not quick and n >= len(STUDENTS) * len(names):
                print(write_record("tdm_mixtures", numbers, config=config, seeds=list(SEEDS)))


if __name__ == "__main__":
    main()
