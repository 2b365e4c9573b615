"""What a merge does to a product, and which plan is therefore the best (Sec. 4)."""

import sympy as sp

from tdmlib.linear.merging import MergePlan, merge
from tdmlib.linear.symbolic.every_plan import operator
from tdmlib.linear.symbolic.identities import asserted, certified, gamma

a, b, L, R, C, D = sp.symbols("a b L R C D", positive=True)
g, h = sp.symbols("g h", positive=True)  # what two trainings leave

p, q, r, v, w = sp.symbols("p q r v w", positive=True)  # any numbers ≥ 0: they show signs
SHARES = {gamma: 1 / (1 + r), g: 1 / (1 + r), h: 1 / (1 + v)}  # between 0 and 1
BELOW = {a: 1 / (1 + p), b: 1 / (1 + q), L: 1 / (1 + p) + w, **SHARES}  # a, b ≤ 1 and L ≥ a
ABOVE = {L: 1 + p, a: 1 + p + w, b: 1 + q, **SHARES}  # b ≥ 1 and 1 ≤ L ≤ a


def f(value, left=gamma):
    """The merge's hold on L: merge(L, R; γ) = R f(L)."""
    return (1 - left) * value + left


def merge_identity() -> dict[str, sp.Eq]:
    """The identity behind Thms. 4.2 and 4.3: what splitting ab into two merges does."""
    return asserted(
        split=(
            "f(a)f(b) - f(ab)",
            f(a) * f(b) - f(a * b),
            -gamma * (1 - gamma) * (1 - a) * (1 - b),
        ),
        error=("f(a) - a", f(a) - a, gamma * (1 - a)),
    )


def merge_rises() -> dict[str, sp.Eq]:
    """A merge rises in L and in R: why dynamic programming finds the extremes (Thm. 4.1)."""
    merged = merge(L, R, gamma)
    return asserted(
        in_left=(r"\partial_L \operatorname{merge}", sp.diff(merged, L), (1 - gamma) * R),
        in_right=(r"\partial_R \operatorname{merge}", sp.diff(merged, R), f(L)),
    )


def breakpoints() -> dict[str, sp.Eq]:
    """With only the student at T trained, S/A_T = ∏ f(P_{group}), and a group's best cut is a line.

    C is the product of the steps i+1 … T−1, D that of the steps m+1 … T−1 already merged into b.
    Merging the group (i, m] gives b f(C/D): linear in C, so the extremes over m are the envelopes
    of one line an m.
    """
    A = sp.symbols("A_1:5", positive=True)
    plan = MergePlan((0, 0, 2, 0, 0, 3))  # A_4 with A_3, the two with A_2 A_1
    S = operator(plan, A, dict.fromkeys(plan.merges, gamma))
    return asserted(
        groups=("S", S, A[3] * f(A[2]) * f(A[1] * A[0])),
        line=("b f(C/D)", b * f(C / D), gamma * b + (1 - gamma) * b / D * C),
    )


def sequential_boot_optimal() -> dict[str, sp.Eq]:
    """Thm. 4.3, λ ≤ λ_BOOT: no right-hand side is negative for a, b ≤ 1 and L ≥ a.

    A merge errs upward and stays below 1; S falls when L sinks to its teacher steps a, and again
    when these are split. `certificates` says it of every plan at once for small T.
    """
    return _chain(
        BELOW,
        errs_upward=("f(a) - a", f(a) - a, gamma * (1 - a)),
        stays_below=("1 - f(a)", 1 - f(a), (1 - gamma) * (1 - a)),
        sinks=("f(L) - f(a)", f(L) - f(a), (1 - gamma) * (L - a)),
        splits=(
            "f(ab) - f(a)f(b)",
            f(a * b) - f(a) * f(b),
            gamma * (1 - gamma) * (1 - a) * (1 - b),
        ),
    )


def vanilla_optimal() -> dict[str, sp.Eq]:
    """Thm. 4.2, λ ≥ λ_van: no right-hand side is negative for b ≥ 1 and 1 ≤ L ≤ a.

    A merge errs downward and stays above 1; S rises when L rises to its teacher steps a, and again
    when factors are joined.
    """
    return _chain(
        ABOVE,
        errs_downward=("a - f(a)", a - f(a), gamma * (a - 1)),
        stays_above=("f(a) - 1", f(a) - 1, (1 - gamma) * (a - 1)),
        rises=("f(a) - f(L)", f(a) - f(L), (1 - gamma) * (a - L)),
        joins=(
            "f(ab) - f(a)f(b)",
            f(a * b) - f(a) * f(b),
            gamma * (1 - gamma) * (a - 1) * (b - 1),
        ),
    )


def shared_time() -> dict[str, sp.Eq]:
    """What splitting does when the two merges share one training time: γ = g h.

    Positive for a, b ≤ 1, negative for a, b ≥ 1: now splitting is worse on either side, by
    whatever shares the time is split. So vanilla is the best plan in both pure phases.
    """
    side = h * (1 - g) * a * (1 - b) + g * (1 - h) * b * (1 - a)
    certified(side.subs(BELOW)), certified(-side.subs(ABOVE))
    return asserted(
        split=(r"\Delta_{gh}", f(a, g) * f(b, h) - f(a * b, g * h), side),
    )


def one_step_more() -> dict[str, sp.Eq]:
    """What a student gains that keeps one teacher step a for itself instead of merging it.

    Positive for a ≤ 1 and negative for a ≥ 1, at every merge above it as well: so the best student
    of K + 1 steps is no further from the teacher than the best of K in a pure phase.
    """
    return asserted(kept=("f(ab) - a f(b)", f(a * b) - a * f(b), gamma * (1 - a)))


def _chain(where, **sides):
    for _, _, right in sides.values():
        certified(right.subs(where))
    return asserted(**sides)
