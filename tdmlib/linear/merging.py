"""Merge plans: the order in which a student merges the teacher's T steps into one (Sec. 4).

A merge at noise level j takes consecutive operators that together carry z_j to z_i. The noisiest
of them, R, is the student's own present operator at level j; L is the product of the rest. Training
for time s toward the target L·R leaves, by Prop. 3.3,

    merge(L, R; γ_j) = (1 − γ_j) L R + γ_j R.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from tdmlib.errors import InputError, check_number
from tdmlib.linear.operators import (
    composite,
    flow_map,
    input_variances,
    reals,
    residual,
    step_operators,
    variances,
)
from tdmlib.schedules import Schedule

STRATEGIES = ("vanilla", "progressive", "sequential_consistency", "sequential_boot")


@dataclass(frozen=True, repr=False)
class MergePlan:
    """An ordered tree over consecutive teacher steps; inner nodes are merges of ≥ 2 operators.

    `arities` lists the nodes in the order in which they are trained, noisiest first: 0 is the next
    teacher step, k ≥ 2 merges the last k operators. So the plan is flat, and comparing, hashing,
    pickling and evaluating it need no recursion however deep the tree is.

    Raises InputError when `arities` is not one whole tree.
    """

    arities: tuple[int, ...]
    start: int = 0

    def __post_init__(self):
        arities = tuple(check_number("arity", k, 0, whole=True) for k in self.arities)
        object.__setattr__(self, "arities", arities)
        object.__setattr__(self, "start", check_number("start", self.start, 0, whole=True))
        depth = 0
        for k in self.arities:
            if k == 1 or k > depth:
                raise InputError(f"arity {k} after {depth} operators: a merge takes 2 … {depth}")
            depth += 1 - k if k else 1
        if depth != 1:
            raise InputError(f"a merge plan is one tree; this list of arities leaves {depth}")

    @classmethod
    def from_children(cls, root, children: Callable, start: int = 0) -> "MergePlan":
        """The plan whose nodes are `root` and its descendants; `children(node)`, noisiest first.

        A node without children is a teacher step.
        """
        arities, pending = [], [root]
        while pending:
            node = pending.pop()
            if isinstance(node, int):  # all that a merge takes has been listed
                arities.append(node)
            elif parts := children(node):
                pending += [len(parts), *reversed(parts)]
            else:
                arities.append(0)
        return cls(tuple(arities), start)

    @property
    def steps(self) -> int:
        """Number of teacher steps (leaves)."""
        return self.arities.count(0)

    @property
    def span(self) -> tuple[int, int]:
        """(i, j): the plan carries z_j to z_i."""
        return self.start, self.start + self.steps

    def nodes(self):
        """Yield (i, j, k) for each node in training order; k = 0 marks the teacher step A_j."""
        top, stack = self.span[1], []
        for k in self.arities:
            if k == 0:
                node = (top - 1, top)
                top -= 1
            else:
                node = (stack[-1][0], stack[-k][1])
                del stack[-k:]
            stack.append(node)
            yield *node, k

    @property
    def merges(self) -> list[tuple[int, int]]:
        """The inner nodes' spans (i, j) in training order."""
        return [(i, j) for i, j, k in self.nodes() if k]

    @property
    def children(self) -> tuple["MergePlan", ...]:
        """The operators that the last merge takes, noisiest first; () for a leaf."""
        pieces: list[tuple[int, int]] = []  # (first, past the last) position in `arities`
        for position, k in enumerate(self.arities[:-1]):
            first = pieces[-k][0] if k else position
            del pieces[len(pieces) - k :]
            pieces.append((first, position + 1))
        children, top = [], self.span[1]
        for first, last in pieces:
            arities = self.arities[first:last]
            top -= arities.count(0)
            children.append(MergePlan(arities, top))
        return tuple(children)

    def to_json(self) -> list[int]:
        """A flat list: the start level, then the arities."""
        return [self.start, *self.arities]

    @classmethod
    def from_json(cls, flat: list[int]) -> "MergePlan":
        """The inverse of `to_json`. Raises InputError for what is no flat list of numbers."""
        if not isinstance(flat, list) or len(flat) < 2:
            raise InputError(f"{flat!r}: a plan is a list of its start level and its arities")
        return cls(tuple(flat[1:]), flat[0])

    def outline(self, lines: int | None = None) -> str:
        """The tree as indented text, the last merge first; at most `lines` lines."""
        out, pending, last = [], [(0, self)], None
        while pending:
            depth, plan = pending.pop()
            i, j = plan.span
            if plan.children:
                text, last = f"{'  ' * depth}merge ({i}, {j}]", None
                pending += [(depth + 1, child) for child in reversed(plan.children)]
            elif last == (depth, j):  # a run of teacher steps shares a line
                text = out.pop().split(" …")[0] + f" … A_{j}"
                last = (depth, i)
            else:
                text, last = f"{'  ' * depth}A_{j}", (depth, i)
            if lines is not None and len(out) == lines:
                return "\n".join([*out, f"… ({len(self.merges)} merges in all)"])
            out.append(text)
        return "\n".join(out)

    def __str__(self):
        return self.outline(lines=80)

    def __repr__(self):
        return f"MergePlan(span={self.span}, merges={len(self.arities) - self.steps})"


def _progressive(T: int) -> list[int]:
    stage = [[0]] * T  # noisiest first
    while len(stage) > 1:
        paired = [[*a, *b, 2] for a, b in zip(stage[::2], stage[1::2], strict=False)]
        stage = paired + stage[len(stage) - len(stage) % 2 :]
    return stage[0]


def canonical_plan(name: str, T: int) -> MergePlan:
    """One of the four canonical strategies over T ≥ 2 teacher steps (Figs. 3 – 6).

    "vanilla": one merge of all T steps. "progressive": neighbours are paired stage by stage from
    the noisy end; an odd one out waits for the next stage. "sequential_consistency": grows from
    the clean end, op(0, t) = merge(op(0, t−1), A_t). "sequential_boot": grows from the noisy end,
    op(t−1, T) = merge(A_t, op(t, T)), so that one student at T is trained again and again.

    Raises InputError for an unknown name or T < 2.
    """
    T = check_number("T", T, 2, whole=True)
    match name:
        case "vanilla":
            arities = [0] * T + [T]
        case "progressive":
            arities = _progressive(T)
        case "sequential_consistency":
            arities = [0] * T + [2] * (T - 1)
        case "sequential_boot":
            arities = [0] + [0, 2] * (T - 1)
        case _:
            raise InputError(f"strategy {name!r} is unknown; choose one of {', '.join(STRATEGIES)}")
    return MergePlan(tuple(arities))


def canonical_student(name: str, T: int, cuts=()) -> tuple[MergePlan, ...]:
    """That strategy on each segment between 0, the ascending `cuts` and T: a student of K steps."""
    return tuple(
        MergePlan(canonical_plan(name, j - i).arities if j - i > 1 else (0,), i)
        for i, j in pairwise((0, *cuts, T))
    )


def count_merges(plans) -> int:
    """How often the students of `plans` are trained."""
    return sum(len(plan.arities) - plan.steps for plan in plans)


def all_plans(T: int):
    """Iterate over the merge plans of T ≥ 1 steps: 1, 3, 11, 45, 197, … for T = 2, 3, 4, 5, 6, …

    These are Schröder trees, and each step has about six times as many as the one before.
    """
    T = check_number("T", T, 1, whole=True)
    trees: dict[int, list[tuple[int, ...]]] = {1: [(0,)]}

    def forests(steps: int, most: int):
        """Every row of trees over `steps` leaves whose first tree has at most `most`."""
        if steps == 0:
            yield 0, ()
        for first in range(1, min(steps, most) + 1):
            for tree, (count, rest) in product(trees[first], forests(steps - first, steps)):
                yield count + 1, tree + rest

    for n in range(2, T + 1):
        trees[n] = [(*forest, count) for count, forest in forests(n, n - 1)]
    return map(MergePlan, trees[T])


def merge(left, right, gamma):
    """(1 − γ) L R + γ R: the student trained toward L·R from its own R (Prop. 3.3)."""
    return right * (left + gamma * (1 - left))


def evaluate(plan: MergePlan, schedule: Schedule, lam, s, rate: float = 2.0) -> np.ndarray:
    """The student's operator once `plan` has been carried out, s of training time a merge.

    Returns the shape of `lam`, or what `lam` and an array `s` broadcast to. Raises InputError when
    the plan reaches beyond the schedule, or for a bad λ, s or rate.
    """
    if plan.span[1] > schedule.T:
        raise InputError(f"the plan spans {plan.span}, the schedule ends at T = {schedule.T}")
    steps, gamma = step_operators(schedule, lam), residual(schedule, lam, s, rate)
    stack: list[np.ndarray] = []
    for _, j, k in plan.nodes():
        if k == 0:
            stack.append(steps[j - 1])
        else:
            right, left = stack[-k], np.prod(stack[len(stack) - k + 1 :], axis=0)
            stack[-k:] = [merge(left, right, gamma[j - 1])]
    return stack.pop()


def surrogate(schedule: Schedule, lam, reference: str = "teacher") -> np.ndarray:
    """The operator that a plan is held against (Def. 4.1, our reading), shape of `lam`.

    "teacher": the teacher's own composite P. "flow": the exact probability-flow map.
    """
    match reference if isinstance(reference, str) else None:
        case "teacher":
            return composite(schedule, lam)
        case "flow":
            return flow_map(schedule, lam)
    raise InputError(f"reference {reference!r} is unknown; choose 'teacher' or 'flow'")


def w2_error(
    operator, schedule: Schedule, lam, reference: str = "teacher", input_variance=None
) -> float:
    """The Wasserstein-2 distance (Σ_i V_i (|S_i| − |Q_i|)²)^½ between outputs of S and Q.

    `operator` is S, shape of `lam`; Q is `surrogate(schedule, lam, reference)`; V is the variance
    of the input, by default ‖v_T‖² (pass 1 for a start from N(0, I)).
    Raises InputError for an operator that is not real and finite or has another shape, and for a V
    that is no variance, of shape () or that of `lam`.
    """
    target = surrogate(schedule, lam, reference)
    operator = reals("the operator", operator)
    if not np.isfinite(operator).all():
        raise InputError("the operator must be finite; it holds NaN or infinity")
    if operator.shape != target.shape:
        raise InputError(f"the operator has shape {operator.shape}, λ has shape {target.shape}")
    input_variance = input_variances(schedule, variances(lam), input_variance)
    gap = np.abs(operator) - np.abs(target)
    return float(np.sqrt(np.sum(input_variance * gap**2)))
