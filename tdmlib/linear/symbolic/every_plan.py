"""The theorems on the best plan as quotients of polynomials, for every plan of small T at once."""

from itertools import combinations
from math import prod

import sympy as sp
from sympy.polys.domains import ZZ
from sympy.polys.fields import field

from tdmlib.linear.merging import MergePlan, all_plans, canonical_plan, merge
from tdmlib.linear.symbolic.identities import certified


def operator(plan: MergePlan, steps, left: dict):
    """S of a plan straight from its definition, for steps A_1 … A_T and γ of each span.

    They may be numbers or symbols of any kind.
    """
    if not plan.children:
        return steps[plan.span[1] - 1]
    noisiest, *rest = (operator(child, steps, left) for child in plan.children)
    return merge(prod(rest), noisiest, left[plan.span])


def certificates(phase: str, T: int, budget: str = "merge") -> dict[MergePlan, sp.Expr]:
    """How far each plan's S/A_T is from the best plan's, as a quotient that is never negative.

    `phase` "below" puts A_j = 1/(1 + y_j) for j < T, "above" A_j = 1 + y_j. `budget` "merge" puts
    γ_j = 1/(1 + g_j) and BOOT is the best below, vanilla above; "total" gives each merge (i, j] a
    time of its own, γ = 1/(1 + g_{ij}), and vanilla, the best in either phase, the time of all
    merges at T. That the best does not lie on the other side of P is asserted too.
    """
    above, total = phase == "above", budget == "total"
    vanilla = canonical_plan("vanilla", T)
    best = vanilla if above or total else canonical_plan("sequential_boot", T)
    names = {(i, j): f"g_{i}{j}" if total else f"g_{j}" for i, j in combinations(range(T + 1), 2)}
    K, *positive = field([f"y_{j}" for j in range(1, T)] + sorted(set(names.values())), ZZ)
    value = dict(zip(map(str, positive), positive, strict=True))
    steps = [1 + y if above else 1 / (1 + y) for y in positive[: T - 1]] + [K.one]
    left = {span: 1 / (1 + value[name]) for span, name in names.items()}

    def excess(further, nearer):
        return certified(nearer - further if above else further - nearer)

    found = {}
    for plan in all_plans(T):
        times = [left[i, j] for i, j in plan.merges if j == T]
        reached = operator(best, steps, left | ({vanilla.span: prod(times)} if total else {}))
        found[plan] = excess(operator(plan, steps, left), reached)
        excess(reached, prod(steps))
    return found
