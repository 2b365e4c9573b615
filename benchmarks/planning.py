"""How fast merge plans are made, and how good the heuristics are where nothing is certain.

    python benchmarks/planning.py            # about a minute and a half
    python benchmarks/planning.py --speed    # the speed table alone

Prints each bar and what it came to, and how far it is from the number of array operations that the
method needs, at the rate at which this machine does them in cache and from memory. Exits with 1
when a bar is missed or a plan is falsely certified.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from tdmlib.datasets.digits import digits
from tdmlib.linear import (
    STRATEGIES,
    all_plans,
    canonical_plan,
    composite,
    evaluate,
    optimal_plan,
    optimal_plans,
    phase_boundaries,
    residual,
    step_operators,
    surrogate,
)
from tdmlib.linear.breakpoints import suffix_products
from tdmlib.linear.candidates import CANDIDATES
from tdmlib.linear.interval import Extreme
from tdmlib.linear.spectra import spectrum
from tdmlib.schedules import Schedule, cosine


def best_time(work: Callable, repeats: int = 7) -> float:
    """The fastest of some runs, seconds: the others had company."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def rates() -> tuple[float, float]:
    """Multiplications a second of float64 arrays: in cache, and streamed from memory."""
    found = []
    for size in (2**13, 2**25):
        a, b, c = np.ones((3, size))
        count = 2**27 // size
        seconds = best_time(lambda a=a, b=b, c=c, n=count: [np.multiply(a, b, out=c)
                                                           for _ in range(n)], 3)  # fmt: skip
        found.append(count * size / seconds)
    return found[0], found[1]


def breakpoints_in_python(schedule: Schedule, lam: float, s: float) -> tuple[float, float]:
    """Smallest and largest operator of the student at T, as the recursion says it."""
    steps = step_operators(schedule, lam)
    products = suffix_products(steps).tolist()
    T, g = schedule.T, float(residual(schedule, lam, s)[-1])
    ends = []
    for pick in (min, max):
        best = [1.0] * T
        for m in range(T - 2, -1, -1):
            best[m] = pick(
                best[i] * (g + (1 - g) * products[m] / products[i]) for i in range(m + 1, T)
            )
        ends.append(float(steps[-1]) * best[0])
    return ends[0], ends[1]


def speed() -> bool:
    """The table of bars; true when all are met."""
    in_cache, streamed = rates()
    print(f"array operations a second: {in_cache:.2e} in cache, {streamed:.2e} from memory\n")
    print(f"{'work':<50}{'time':>9}{'bar':>9}{'floor':>9}{'ratio':>7}")
    long, met = cosine(1024), True

    def row(name: str, seconds: float, bar: float | None, operations: float) -> None:
        nonlocal met
        floor = operations / in_cache
        met &= bar is None or seconds <= bar
        shown = f"{bar * 1e3:>6.0f} ms" if bar else f"{'':>9}"
        print(f"{name:<50}{seconds * 1e3:>6.1f} ms{shown}{floor * 1e3:>6.1f} ms"
              f"{seconds / floor:>7.1f}")  # fmt: skip

    pure = np.concatenate([np.geomspace(0.01, 1, 128), np.geomspace(2.1, 100, 128)])
    assert optimal_plans(long, pure, 6.4).certified.all()
    seconds = best_time(lambda: optimal_plans(long, pure, 6.4))
    row("optimal_plans, T = 1024, 256 certified λ", seconds, 0.06, 8 * 1024 * 256)

    around = np.linspace(0.9, 2.2, 256)
    array = best_time(lambda: optimal_plans(long, around, 6.4, method="breakpoints"), 3)
    row("breakpoints, T = 1024, 256 λ", array, 0.9, 2 * 3 * 256 * 1024**2 / 2)
    loop = 256 * best_time(lambda: breakpoints_in_python(long, 1.5, 6.4), 1)

    grown = {}
    for T in (64, 128, 256, 512, 1024):
        args = step_operators(cosine(T), 1.5), residual(cosine(T), 1.5, 6.4)
        grown[T] = best_time(
            lambda args=args: [Extreme.of(*args, largest) for largest in (False, True)], 3
        )
        row(f"extremal dynamic programs, T = {T}, one λ", grown[T], 0.12 if T == 256 else None,
            2 * 6 * T**3 / 6)  # fmt: skip

    lams, times = np.geomspace(0.1, 10, 400)[:, None], np.geomspace(0.1, 20, 40)
    short = cosine(32)

    def diagram() -> None:
        teacher, best = composite(short, lams), optimal_plans(short, lams, times)
        for name in STRATEGIES:
            np.abs(evaluate(canonical_plan(name, 32), short, lams, times) - teacher) - best.error

    mixed = np.sum(optimal_plans(short, lams, times).phase == 0)
    row("phase diagram, 400 λ × 40 s, T = 32", best_time(diagram, 3), 0.6,
        2 * 6 * mixed * 32**3 / 6 + 4 * 3 * 16_000 * 32)  # fmt: skip

    real = spectrum(digits()[0].images.numpy()).lam
    seconds = best_time(lambda: optimal_plan(short, real, 6.4), 2)
    found = optimal_plan(short, real, 6.4)
    pairs, cap = sum((n - 1) * (32 - n + 1) for n in range(2, 33)), found.cap
    row(f"Pareto plan, T = 32, d = {real.size} digits", seconds, 5, 2 * 2 * pairs * cap**2 * 64 * 6)
    print(f"  error {found.error:.3e}, at most {found.gap / found.error:.1%} of it to be gained; "
          f"fronts of {cap}")  # fmt: skip
    print(f"\nbreak points by array are {loop / array:.0f} times as fast as in a Python loop")
    print("growth of the extremal programs, T to 2T: "
          + ", ".join(f"{grown[2 * T] / grown[T]:.1f}" for T in list(grown)[:-1]))  # fmt: skip
    slower, share = in_cache / streamed, mixed / 16_000
    print(f"""
The floor is the method's own array operations at the in-cache rate; from memory they would take
{slower:.1f} times as long. What limits them: the certified batch, NumPy's temporaries, an array of
T × 256 for every operation; break points, three passes over such an array a level, which fit no
inner cache, with an end of the range on each core; the extremal programs, the interpreter for
small T and memory for large T, where the candidates of one length fit no cache; the phase diagram,
the {share:.0%} of it that lies in the mixed phase; the Pareto plan, the interpreter, with some
thirty calls for each of its intervals.""")
    return met


def random_schedule(rng: np.random.Generator, T: int) -> Schedule:
    """Any increasing angles, half of them with σ_0 = 0, half with α_T = 0."""
    angles = np.sort(rng.uniform(0, np.pi / 2, T + 1))
    angles[0] *= rng.random() < 0.5
    if rng.random() < 0.5:
        angles[-1] = np.pi / 2
    return Schedule(np.clip(np.cos(angles), 0, 1), np.sin(angles))


def certificates(cases: int = 10_000) -> bool:
    """`auto` and `interval` against all plans, T ≤ 7; true if none is falsely certified."""
    rng, false, certain = np.random.default_rng(0), 0, 0
    plans = {T: list(all_plans(T)) for T in range(2, 8)}
    at_once, steps = 50, 0
    while steps < cases:
        T = int(rng.integers(2, 8))
        schedule = random_schedule(rng, T)
        low, high = phase_boundaries(schedule)
        mixed = np.exp(rng.uniform(np.log(low), np.log(high), at_once // 2))
        lam = np.append(mixed, 10 ** rng.uniform(-2, 2, at_once - len(mixed)))
        s, reference = 10 ** rng.uniform(-3, 1.5, at_once), ("teacher", "flow")[steps % 3 == 0]
        target = surrogate(schedule, lam, reference)
        tried = np.stack([evaluate(plan, schedule, lam, s) for plan in plans[T]])
        least = np.abs(tried - target).min(axis=0)
        for k in range(at_once):
            for method in ("auto", "interval"):
                found = optimal_plan(schedule, lam[k], s[k], method=method, reference=reference)
                error = abs(float(found.operator) - target[k])
                wrong = error > least[k] + 1e-13 * (1 + target[k])
                false += found.certified and wrong
                certain += found.certified and method == "interval"
        steps += at_once
    print(f"\n{steps} random cases against all plans, T ≤ 7: {false} falsely certified; "
          f"the range alone certifies {certain / steps:.1%}")  # fmt: skip
    return not false


def heuristic(cases: int = 300) -> None:
    """Where the target lies within the range: the heuristic's error over the least of all plans."""
    for T in (8, 9):
        rng, ratios, shares = np.random.default_rng(T), [], []
        while len(ratios) < cases:
            schedule = random_schedule(rng, T)
            low, high = phase_boundaries(schedule)
            lam, s = np.exp(rng.uniform(np.log(low), np.log(high))), 10 ** rng.uniform(-2, 0.5)
            found = optimal_plan(schedule, lam, s, method="interval")
            if found.cap:
                best = optimal_plan(schedule, lam, s, method="exhaustive").error
                ratios.append(max(found.error, 1e-17) / max(best, 1e-17))
                smallest, largest = found.bounds
                shares.append(found.error / (largest - smallest))
        print(f"T = {T}, target within the range, {CANDIDATES} candidates an interval: error over "
              f"optimum, median {np.median(ratios):.2f}, worst {max(ratios):.0f}; "
              f"optimal in {np.mean(np.array(ratios) < 1 + 1e-6):.0%}; error over the width of the "
              f"range, median {np.median(shares):.1e}, worst {max(shares):.1e}")  # fmt: skip


def fronts(cases: int = 50) -> None:
    """Short fronts against all plans, for spectra on both sides of the boundaries."""
    for T in (8, 9):
        rng, ratios, exact = np.random.default_rng(T), [], 0
        for _ in range(cases):
            schedule, lam = random_schedule(rng, T), 10 ** rng.uniform(-1, 1, 8)
            s = 10 ** rng.uniform(-2, 0.7)
            found = optimal_plan(schedule, lam, s, method="pareto")
            ratios.append(found.error / optimal_plan(schedule, lam, s, method="exhaustive").error)
            exact += found.cap is None
        print(f"T = {T}, d = 8, Pareto: {exact / cases:.0%} needed no cap; error over optimum, "
              f"median {np.median(ratios):.3f}, worst {max(ratios):.3f}")  # fmt: skip


def main() -> None:
    met = speed()
    if "--speed" not in sys.argv:
        met &= certificates()
        heuristic()
        fronts()
    sys.exit(not met)


if __name__ == "__main__":
    main()
