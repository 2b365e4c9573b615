"""The mixtures record: how far students of the one-step form are from merged steps, three seeds.

    python benchmarks/mixtures.py [--work runs/mixtures] [--quick]

Measures what is missing, so that an interrupted run goes on where it was; writes
data/results/mixtures.json. About a quarter of an hour on one core.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tdmlib.linear import STRATEGIES, canonical_plan
from tdmlib.metrics.swd import sliced_wasserstein
from tdmlib.nonlinear import (
    MixtureTeacher,
    amplification,
    bend,
    best_fit,
    carry_out,
    component_student,
    distance_to_gradients,
    mean_square,
    modes_on_circle,
    random_mixture,
    step_student,
    train,
    widened,
)
from tdmlib.records import write_record
from tdmlib.schedules import cosine

T, SEEDS = 8, (0, 1, 2)
POINTS, PLAN_POINTS, TESTED, EVALUATIONS = 3000, 1000, 20_000, 80
TIMES = (0.4, 1.6, 6.4, 25.6, 102.4)
RADII = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)


def root(student, z, target) -> float:
    """(E‖student(z) − target‖²)^½."""
    with torch.no_grad():
        return float(mean_square(student, z, target).sqrt())


def missed(teacher: MixtureTeacher, k: int, seed: int, components: int | None = None) -> float:
    """The share of the bend of P_{T−1−k, T−1} that the best student found misses, held out."""
    mixture, j = teacher.mixture, T - 1
    starts = [make(mixture, teacher.schedule, j - k, j)
              for make in (step_student, component_student)]  # fmt: skip
    if components:
        starts = [widened(start, components, seed) for start in starts]
    z = teacher.marginal(POINTS, j, seed)
    student = best_fit(starts, z, teacher.composite(z, j - k, j), EVALUATIONS)
    z = teacher.marginal(TESTED, j, 1000 + seed)
    target = teacher.composite(z, j - k, j)
    return root(student, z, target) / float(bend(z, target))


def proved(teacher: MixtureTeacher, k: int) -> list[float]:
    """The same share for all gradient fields: lower and upper bound, d = 2."""
    j = T - 1
    plain = MixtureTeacher(teacher.mixture.numpy(), teacher.schedule)
    levels = teacher.schedule.alpha[j], teacher.schedule.sigma[j]
    bounds = distance_to_gradients(
        lambda z: plain.composite(z, j - k, j), plain.mixture, *levels, degree=18
    )
    z = teacher.marginal(TESTED, j, 0)
    whole = float(bend(z, teacher.composite(z, j - k, j)))
    return [bound / whole for bound in bounds]


def strategies(seed: int, times) -> dict:
    """The L² error and the sliced W₂ of each strategy's student over the data's deviation.

    Times: None trains by least squares. "family" is the closest student found from any of these.
    """
    teacher = MixtureTeacher(random_mixture(3, 2, seed), cosine(T))
    z = teacher.marginal(TESTED, T, 1000 + seed)
    target = teacher.composite(z)
    spread = float(teacher.mixture.sample(TESTED).var(0).sum().sqrt())
    found = {}

    def judge(student) -> list[float]:
        with torch.no_grad():
            apart = sliced_wasserstein(student(z)[:5000], target[:5000], 128)
        return [root(student, z, target) / spread, apart / spread]

    for s in (*times, None):
        students = {}
        for name in STRATEGIES:
            if s is None:
                learn = lambda start, z, y: best_fit([start], z, y, EVALUATIONS)  # noqa: E731
            else:
                learn = partial(train, s=s, step=0.05)
            plan = canonical_plan(name, T)
            draw = partial(teacher.marginal, PLAN_POINTS, seed=seed)
            students[name] = carry_out(plan, teacher, draw, learn)
        found[str(s)] = {name: judge(student) for name, student in students.items()}
        print(seed, s, found[str(s)], flush=True)
    start = teacher.marginal(PLAN_POINTS, T, seed)
    best = best_fit(students.values(), start, teacher.composite(start), 2 * EVALUATIONS)
    found["family"] = judge(best)
    print(seed, "family", found["family"], flush=True)
    return found


def amplified(radius: float, seed: int) -> dict:
    """Three equal modes on a circle: what P_{0,4} makes of the best fit's error to P_{4,8}."""
    mixture = modes_on_circle(3, radius, 0.3**2, np.random.default_rng(seed).uniform())
    teacher = MixtureTeacher(mixture, cosine(T))
    z = teacher.marginal(POINTS // 2, T, seed)
    start = step_student(mixture, teacher.schedule, T // 2, T)
    student = best_fit([start], z, teacher.composite(z, T // 2), EVALUATIONS)
    z = teacher.marginal(TESTED, T, 1000 + seed)
    with torch.no_grad():
        return amplification(teacher, teacher.composite(z, T // 2), student(z), T // 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/mixtures"))
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes no record")
    arguments = parser.parse_args()
    quick = arguments.quick
    work = arguments.work / "quick" if quick else arguments.work
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    seeds = SEEDS[:1] if quick else SEEDS
    steps, sizes, dims, wider, radii = range(1, T), (2, 3, 4, 6), (1, 2, 3, 4), (3, 4, 6), RADII
    if quick:
        steps, sizes, dims, wider, radii = (1, 2), (2, 3), (1,), (4,), RADII[:1]

    def kept(name: str, measure):
        path = work / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(measure()))
            print(name, path.read_text(), flush=True)
        return json.loads(path.read_text())

    def over(name: str, values, measure) -> dict:
        return {
            str(value): [
                kept(f"{name}_{value}_seed{seed}", partial(measure, value, seed)) for seed in seeds
            ]
            for value in values
        }

    def teacher(M: int, d: int, seed: int) -> MixtureTeacher:
        return MixtureTeacher(random_mixture(M, d, seed), cosine(T))

    numbers = {
        "steps": over("steps", steps, lambda k, i: missed(teacher(3, 2, i), k, i)),
        "steps_gradients": over("bound", steps, lambda k, i: proved(teacher(3, 2, i), k)),
        "components": over("components", sizes, lambda M, i: missed(teacher(M, 2, i), 4, i)),
        "dimension": over("dimension", dims, lambda d, i: missed(teacher(3, d, i), 4, i)),
        "student": over("student", wider, lambda M, i: missed(teacher(3, 2, i), 4, i, M)),
        "radius": over("radius", radii, amplified),
        "strategies": [
            kept(f"strategies_seed{i}", partial(strategies, i, TIMES[:1] if quick else TIMES))
            for i in seeds
        ],
    }
    if not quick:
        config = {
            "T": T, "points": POINTS, "points_of_plans": PLAN_POINTS, "tested": TESTED,
            "evaluations": EVALUATIONS, "times": TIMES, "radii": RADII,
        }  # fmt: skip
        print(f"wrote {write_record('mixtures', numbers, config=config, seeds=list(SEEDS))}")


if __name__ == "__main__":
    main()
