"""The TDM record on mixtures whose score is known: the teacher, students, and one choice at a time.

    python benchmarks/tdm_mixtures.py [--work runs/tdm_mixtures] [--main] [--extend [LABEL …]]
        [--processes 2] [--quick]

Trains what is missing or was trained with other settings, so that an interrupted run goes on where
it was; writes data/results/tdm_mixtures.json, after the main table (--main stops there) and after
every choice. Single choices are changed in a shorter training of half the batch. --extend carries
over the students that the record holds already, of the same settings, but for the labels named
after it, and says so.
"""

import argparse
import logging
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean

import torch
from kept import carried, kept

from tdmlib.denoisers import MixtureDenoiser
from tdmlib.distill.even import EvenTDM
from tdmlib.distill.exact import mixture_distillation, mixture_start, train
from tdmlib.distill.tdm import TDM
from tdmlib.metrics.modes import mode_recovery
from tdmlib.metrics.quasi import quasi_noise, quasi_sample
from tdmlib.metrics.swd import sliced_wasserstein
from tdmlib.nonlinear import planar_mixtures
from tdmlib.records import write_record
from tdmlib.sampling import ddim_step, sample, time_grid
from tdmlib.schedules import cosine

T, SAMPLES, PROJECTIONS = 1000, 2**18, 64
TEACHER_STEPS, SEEDS = (1, 2, 4, 8, 25, 100), (0, 1, 2)
BASE = dict(fake_target="stable", weight="precision", margin=20, c=0.1)
SETTINGS = dict(
    updates_per_epoch=1000, batch_size=4096, fake_updates=1, rate=1e-3, fake_rate=3e-3, ema=0.99,
    warmup=50, last_rate=0.01, network={},
)  # fmt: skip
BEST = {
    "experts": True, "shift": 1.5, "spacing": 1.7, "fake_updates": 2,
    "rate": 5e-4, "fake_rate": 2e-3, "warmup": 200, "last_rate": 0.2,
}  # fmt: skip
FAR = {"samples": 2**15}  # enough for students fifteen times as far as the floor of so many
UNIFY = {"counts": (1, 2, 4)}
STUDENTS = {  # 1024 samples for each step
    "tdm4": BEST | {"steps": 4},
    "tdm2": BEST | {"steps": 2, "batch_size": 2048},
    "tdm1": BEST | {"steps": 1, "batch_size": 1024},
    "unify": BEST | UNIFY | {"shares": (1, 2, 4), "batch_size": 7168},
    "tdm4_shared": FAR | {"steps": 4},
    "tdm2_shared": {"steps": 2, "batch_size": 2048},
    "tdm1_shared": FAR | {"steps": 1, "batch_size": 1024},
}
MORE_SEEDS = dict.fromkeys(  # three do not tell a tenth
    ("tdm4", "tdm2", "tdm1", "unify"), (*SEEDS, 3, 4, 5)
)
ABLATED = "uneven"  # on this mixture one choice at a time is changed, in a shorter training
SHORT = FAR | {"steps": 4, "updates_per_epoch": 200, "batch_size": 2048}
TOGETHER = UNIFY | {"steps": None, "batch_size": 3072, "weight": "none"}
DENOISED = {"fake_target": "denoised", "weight": "none"}
CHOICES = {  # choices of `TDM`, or settings of the training, that differ from those of "short";
    # where the fake score is not told whose points it sees, the weight may not depend on it
    "short": {},
    "l2": {"metric": "l2", "c": None},
    "clean": {"matched": "clean"},
    "transition": {"fake_target": "transition"},
    "snr": {"weight": "none"},
    "denoised": DENOISED,
    "denoised_script": DENOISED | {"weight": "script"},
    "denoised_exact": DENOISED | {"weight": "exact", "weight_cap": 10.0},
    "full": {"interval": "full", "weight": "none"},
    "full_told": {"interval": "full", "weight": "none", "fake_sees_origin": True},
    "independent": {"draws": "independent"},
    "fake2": {"fake_updates": 2},
    "fake5": {"fake_updates": 5},
    "backpropagate": {"backpropagate": "all"},
    "fisher": {"divergence": "fisher"},
    "dpm++": {"solver": "dpm++"},
    "shift": {"shift": 1.5},
    "spacing": {"spacing": 1.7},
    "experts": {"experts": True},
    "raw": {"network": {"fourier": 0}},
    "unify_short": TOGETHER,
    "unify_wide": TOGETHER | {"network": {"width": 128, "embedding": 64}},
    "unify_experts": TOGETHER | {"experts": True},
    "unify_student": TOGETHER | {"steps_aware": "student"},
    "unify_neither": TOGETHER | {"steps_aware": "neither"},
}


@cache
def reference(name: str, seed: int = 1, samples: int = SAMPLES) -> torch.Tensor:
    return quasi_sample(planar_mixtures()[name], samples, seed)


def report(x: torch.Tensor, name: str) -> dict[str, float]:
    """Sliced W₂ to the data, the same of samples redrawn in the true shares, and the modes."""
    mixture = planar_mixtures()[name]
    owner, order = mixture.responsibilities(x).argmax(1).sort(stable=True)
    weights = (mixture.weights / torch.bincount(owner, minlength=len(mixture.weights)))[owner]
    levels = (torch.arange(len(x)) + 0.5) / len(x)
    redrawn = torch.searchsorted((weights / weights.sum()).double().cumsum(0), levels.double())
    swd, places = (
        sliced_wasserstein(y, reference(name, samples=len(x)), PROJECTIONS)
        for y in (x, x[order][redrawn.clamp_max(len(x) - 1)])
    )
    return {"swd": swd, "places": places} | mode_recovery(x, mixture)


def last_step(denoiser, name: str, grid: tuple[int, ...], samples: int) -> dict[str, float]:
    """Report of the last step alone, on true samples that were diffused to its level."""
    schedule, noise = cosine(T), quasi_noise(samples, 2, seed=7)
    shuffled = torch.randperm(samples, generator=torch.Generator().manual_seed(0))
    alpha, sigma = schedule.alpha[grid[1]], schedule.sigma[grid[1]]
    z = (alpha * reference(name, 3, samples) + sigma * noise[shuffled]).float()
    return report(ddim_step(denoiser(z, grid[1]), z, grid[1], 0, schedule)[0], name)


@torch.no_grad()
def teacher(name: str) -> dict[str, dict]:
    """Reports of the teacher by its steps and solver, and of true samples."""
    schedule, mixture = cosine(T), planar_mixtures()[name]
    exact, noise = MixtureDenoiser(schedule, mixture), quasi_noise(SAMPLES, 2, seed=5)
    reports = {str(k): report(sample(exact, noise, k, schedule), name) for k in TEACHER_STEPS}
    for k in TEACHER_STEPS:
        reports[f"{k} dpm++"] = report(sample(exact, noise, k, schedule, solver="dpm++"), name)
    for k in (4, 8, 25):
        grid = list(time_grid(k, T, BEST["spacing"]))
        reports[f"{k} spaced"] = report(sample(exact, noise, grid, schedule), name)
    reports["last step of 4"] = last_step(exact, name, time_grid(4, T, BEST["spacing"]), SAMPLES)
    reports["floor"] = report(reference(name, seed=2), name)
    drawn = [report(mixture.sample(SAMPLES, seed=seed), name) for seed in range(3, 11)]
    reports["floor of independent samples"] = {k: fmean(r[k] for r in drawn) for k in drawn[0]}
    return reports


def held_bytes(run) -> int:
    """What autograd keeps of a rollout."""
    held = {}

    def pack(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    start = run.method.start(run.batch_size, run.shape, torch.Generator().manual_seed(0))
    start.step.zero_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        rollout = run.method.rollout(run.student, start)
    assert rollout.x_i.requires_grad
    return sum(held.values())


@torch.no_grad()
def student(name: str, seed: int, choices: dict, quick: bool) -> dict:
    """Train one student, and report on it by its step counts and by solver, averaged and last."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    trained = {k: v for k, v in choices.items() if k in SETTINGS}
    settings = SETTINGS | trained
    ours = {k: choices.get(k) for k in ("draws", "experts", "samples")}
    samples = ours["samples"] or SAMPLES
    method = BASE | {k: v for k, v in choices.items() if k not in trained | ours}
    settings |= {"updates_per_epoch": 20} if quick else {}
    kind = TDM if ours["draws"] == "independent" else EvenTDM
    grids = kind(cosine(T), **method).grids if ours["experts"] else None
    network = settings.pop("network") | {"grids": grids, "seed": seed}
    start = mixture_start(planar_mixtures()[name], cosine(T), **network)
    begin = time.process_time()
    run = mixture_distillation(
        planar_mixtures()[name], lambda schedule: kind(schedule, **method), cosine(T),
        seed=seed, start=start, **settings,
    )  # fmt: skip
    with torch.enable_grad():
        train(run)
        found = {"held_bytes": held_bytes(run)}
    found["seconds"] = (time.process_time() - begin) / settings["updates_per_epoch"]
    noise = quasi_noise(samples, 2, seed=100 + seed)
    for K in run.method.counts or (len(run.method.grid) - 1,):
        found[f"{K}"] = report(run.method.sample(run.average.module, noise, steps=K), name)
        found[f"{K} last"] = report(run.method.sample(run.student, noise, steps=K), name)
    if run.method.counts is None:
        found["last step"] = last_step(run.average.module, name, run.method.grid, samples)
        other = "ddim" if run.method.solver == "dpm++" else "dpm++"
        x = sample(run.average.module, noise, list(run.method.grid), cosine(T), solver=other)
        found[other] = report(x, name)
    return found


def kept_and_shown(work: Path, key: str, measure, *arguments):
    """What is `kept` of a measurement, and a line on it."""
    how = [T, SAMPLES, PROJECTIONS, TEACHER_STEPS, BEST, BASE, SETTINGS]
    found = kept(work / f"{key}.json", how, measure, *arguments)
    short = {k: round(v["swd"], 4) for k, v in found.items() if isinstance(v, dict)}
    print(key, short, flush=True)
    return found


def made(config: dict) -> dict[tuple[str, str], list]:
    """What went into each row, (mixture, label), of a record of this configuration."""
    tables = {"students": (list(planar_mixtures()), {}),
              "choices": ([config["ablated"]], config["short"])}  # fmt: skip
    common = {k: v for k, v in config.items() if k not in ("samples", "more_seeds", *tables)}
    more = config.get("more_seeds", {})
    return {
        (name, label): [common, {"samples": config["samples"]} | short | choices, more.get(label)]
        for table, (names, short) in tables.items()
        for name, (label, choices) in product(names, config[table].items())
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/tdm_mixtures"))
    parser.add_argument("--main", action="store_true", help="the main table alone")
    parser.add_argument("--extend", nargs="*", metavar="LABEL",
                        help="keep what the record holds, but for these rows")  # fmt: skip
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes no record")
    arguments = parser.parse_args()
    quick = arguments.quick
    work = arguments.work / "quick" if quick else arguments.work
    work.mkdir(parents=True, exist_ok=True)
    names = list(planar_mixtures())
    config = dict(
        T=T, samples=SAMPLES, projections=PROJECTIONS, base=BASE, settings=SETTINGS,
        students=STUDENTS, choices=CHOICES, ablated=ABLATED, short=SHORT, more_seeds=MORE_SEEDS,
    )  # fmt: skip
    old, measured = {}, None
    if arguments.extend is not None:
        old, measured = carried("tdm_mixtures", config, SEEDS, made, arguments.extend)
    with ProcessPoolExecutor(arguments.processes) as pool:  # one thread each

        def ask(key, *task):
            return pool.submit(kept_and_shown, work, key, *task)

        def students(label, choices, name):
            return [ask(f"{name}_{label}_seed{seed}", student, name, seed, choices, quick)
                    for seed in MORE_SEEDS.get(label, SEEDS)[: 1 if quick else None]]  # fmt: skip

        teachers = {name: ask(f"{name}_teacher", teacher, name) for name in names}
        runs = {
            (name, label): students(label, choices, name)
            for (label, choices), name in product(STUDENTS.items(), names)
            if (name, label) not in old
        }
        if not arguments.main:
            runs |= {
                (ABLATED, label): students(label, SHORT | choices, ABLATED)
                for label, choices in CHOICES.items()
                if (ABLATED, label) not in old
            }
        numbers = {name: {"teacher": teachers[name].result()} for name in names}
        for (name, label), found in old.items():
            numbers[name][label] = found
        for (name, label), futures in runs.items():
            numbers[name][label] = [future.result() for future in futures]
            if not quick and all(STUDENTS.keys() <= numbers[name].keys() for name in names):
                print(write_record(
                    "tdm_mixtures", numbers, config=config, seeds=list(SEEDS),
                    earlier=measured,
                ))  # fmt: skip


if __name__ == "__main__":
    main()
