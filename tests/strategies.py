"""Random schedules, variances and plans for hypothesis, and what every plan leaves."""

import math
from functools import cache

import numpy as np
from hypothesis import strategies as st

from tdmlib.linear import all_plans, phase_boundaries, residual, step_operators
from tdmlib.schedules import Schedule

PLANS = {T: list(all_plans(T)) for T in range(2, 8)}


@st.composite
def schedules(draw, least=2, most=6):
    """Any strictly monotone grid of angles, with or without σ_0 = 0 and α_T = 0."""
    T = draw(st.integers(least, most))
    gaps = draw(st.lists(st.floats(0.05, 1), min_size=T + 2, max_size=T + 2))
    gaps[0] *= draw(st.sampled_from([0, 1]))
    gaps[-1] *= draw(st.sampled_from([0, 1]))
    angles = np.cumsum(gaps[:-1]) / sum(gaps) * np.pi / 2
    return Schedule(alpha=np.clip(np.cos(angles), 0, 1), sigma=np.sin(angles))


variances = st.floats(1e-3, 1e3)
times = st.sampled_from([0.0, 1e-3, 0.1, 0.5, 2.0, 6.4])
seeds = st.integers(0, 2**32 - 1)


def instances(schedule, seed, count):
    """Random (λ, s), each of shape (count,): anywhere, in the mixed phase, and around its ends."""
    rng = np.random.default_rng(seed)
    ends = phase_boundaries(schedule)
    edges = np.nextafter(rng.choice(ends, count), rng.choice([0, np.inf], count))
    wide = 10 ** rng.uniform(-3, 3, count) * (rng.random(count) < 0.95)
    kinds = [wide, rng.uniform(*ends, count), rng.choice(ends, count), edges]
    lam = np.choose(rng.choice(4, count, p=[0.35, 0.45, 0.1, 0.1]), kinds)
    return lam, 10 ** rng.uniform(-4, 2, count) * (rng.random(count) < 0.95)


@cache
def _parts(T):
    """All plans over T steps and all that they are made of, with each one's parts, those first."""
    place, parts = {}, []

    def add(plan):
        if plan not in place:
            children = [add(child) for child in plan.children]
            place[plan] = len(parts)
            parts.append((plan.span[1], children))
        return place[plan]

    return [add(plan) for plan in PLANS[T]], parts


def every_operator(schedule, lam, s, budget="merge"):
    """What each plan of PLANS leaves, shape (plans, …): the oracle, for an array of λ and s.

    It is `evaluate` for all plans at once (a test holds the two together).
    """
    wholes, parts = _parts(schedule.T)
    if budget == "total":
        merges = [len(plan.merges) for plan in PLANS[schedule.T]]
        each = {n: every_operator(schedule, lam, s / n) for n in set(merges)}
        return np.array([each[n][k] for k, n in enumerate(merges)])
    steps, gamma, operators = step_operators(schedule, lam), residual(schedule, lam, s), []
    for j, (right, *left) in ((j, children or [None]) for j, children in parts):
        if right is None:
            operators.append(steps[j - 1])
        else:
            g, L = gamma[j - 1], math.prod(operators[k] for k in left)
            operators.append(operators[right] * ((1 - g) * L + g))
    return np.array([operators[k] for k in wholes])
