"""`tdm plan`: the best merge plan beside the four canonical strategies, and why it is the best."""

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from threading import Timer

import numpy as np

from tdmlib.cli import plan_report
from tdmlib.errors import InputError, check_number, one_of
from tdmlib.files import PICTURES, check_target, write_whole
from tdmlib.linear import (
    STRATEGIES,
    MergePlan,
    PlanResult,
    canonical_student,
    count_merges,
    evaluate,
    optimal_student,
    phase_boundaries,
    phase_counts,
    read_spectrum,
    surrogate,
    w2_error,
)
from tdmlib.linear.phases import proved_phase
from tdmlib.schedules import (
    Schedule,
    cosine,
    edm,
    flow_matching,
    linear_beta,
    scaled_linear_beta,
)

LEVELS = 1000  # of the β schedules; a teacher of fewer steps stops at some of them
WITHIN_A_SECOND = 2**27  # T³ a variance: what the exact range of all plans takes


def _every_few(schedule: Schedule, T: int) -> Schedule:
    """A teacher of T steps that stops at evenly spread levels."""
    levels = np.linspace(0, schedule.T, check_number("steps", T, 2, schedule.T, whole=True) + 1)
    return schedule.sub(np.rint(levels).astype(int).tolist())


SCHEDULES = {
    "cosine": cosine,
    "linear": lambda T: _every_few(linear_beta(LEVELS), T),
    "scaled-linear": lambda T: _every_few(scaled_linear_beta(LEVELS), T),
    "flow-matching": flow_matching,
    "edm": edm,
}


@dataclass(frozen=True, eq=False)
class Row:
    """What one way to merge leaves: plans, number of merges, operator and W₂ error."""

    plans: tuple[MergePlan, ...]
    merges: int
    operator: np.ndarray
    w2: float


@dataclass(frozen=True, eq=False)
class Answer:
    """The planner's answer, and what it is compared with."""

    schedule_name: str
    schedule: Schedule
    lam: np.ndarray
    time: float
    budget: str
    reference: str
    result: PlanResult

    @cached_property
    def target(self) -> np.ndarray:
        """What plans are held against, shape of λ."""
        return surrogate(self.schedule, self.lam, self.reference)

    @cached_property
    def boundaries(self) -> tuple[float, float]:
        return phase_boundaries(self.schedule)

    @cached_property
    def phases(self) -> np.ndarray:
        """−1 where sequential BOOT is proved best, 1 where vanilla is, 0 in between."""
        return proved_phase(self.schedule, self.lam, self.reference)

    @cached_property
    def best(self) -> Row:
        result = self.result
        return Row(result.plans, count_merges(result.plans), result.operator, result.error)

    @cached_property
    def strategies(self) -> dict[str, Row]:
        """The canonical strategies, carried out on each of the best student's segments."""
        return {name: self._canonical(name) for name in STRATEGIES}

    def _canonical(self, name: str) -> Row:
        plans = canonical_student(name, self.schedule.T, self.result.cuts)
        merges = count_merges(plans)
        s = self.time / max(merges, 1) if self.budget == "total" else self.time
        operator = prod(evaluate(plan, self.schedule, self.lam, s) for plan in plans)
        error = w2_error(operator, self.schedule, self.lam, self.reference)
        return Row(plans, merges, operator, error)

    @cached_property
    def best_canonical(self) -> list[str]:
        """The strategies of least error; several where they differ by rounding alone."""
        least = min(row.w2 for row in self.strategies.values())
        return [name for name, row in self.strategies.items() if row.w2 <= least * (1 + 1e-9)]

    @property
    def phase_counts(self) -> tuple[int, int, int]:
        """How many variances lie in BOOT's phase, in the mixed one, in vanilla's."""
        return phase_counts(self.schedule, self.lam)

    @property
    def named(self) -> str | None:
        """The canonical strategy that the best plans are, if they are one."""
        same = [name for name, row in self.strategies.items() if row.plans == self.best.plans]
        return same[0] if same and self.best.merges else None

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The smallest and the largest operator of all plans; None where that takes long."""
        return (
            self.result.bounds
            if _work(self.schedule, self.lam, self.budget) <= WITHIN_A_SECOND
            else None
        )


def _work(schedule: Schedule, lam: np.ndarray, budget: str) -> int:
    return lam.size * schedule.T ** (4 if budget == "total" else 3)


def _variances(lam: float | None, spectrum: Path | None) -> np.ndarray:
    if (lam is None) == (spectrum is None):
        raise InputError("give either --lam, one variance, or --spectrum, a .npy file")
    return np.array(check_number("λ", lam, 0.0)) if spectrum is None else read_spectrum(spectrum)


def _levels(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"cuts {text!r:.40}: write levels and commas, as in 8,16") from None


def run(
    steps: int, time: float, lam: float | None, spectrum: Path | None, schedule: str,
    reference: str, budget: str, student_steps: int | None, cuts: str | None, method: str,
    strategy: str | None, lines: int, as_json: bool, plot: Path | None,
) -> None:  # fmt: skip
    check_number("lines", lines, 1, whole=True)
    if strategy is not None:
        one_of("strategy", strategy, STRATEGIES)
    if plot is not None:
        check_target(plot, *PICTURES)
    lam, cuts = _variances(lam, spectrum), _levels(cuts)
    steps = check_number("steps", steps, 2, 100_000, whole=True)
    levels = SCHEDULES[one_of("schedule", schedule, tuple(SCHEDULES))](steps)
    K = student_steps if student_steps is not None else 1 + len(cuts or ())
    with _notice("tdm: still planning; Ctrl-C stops it", after=3):
        result = optimal_student(
            levels, lam, time, K, cuts=cuts, method=method, reference=reference, budget=budget
        )
        found = Answer(schedule, levels, lam, time, budget, reference, result)
        if as_json:
            text = plan_report.as_json(found, strategy)
        else:
            source = "" if spectrum is None else f" of {spectrum.name}"
            text = plan_report.as_text(found, source, strategy, lines)
    print(text, flush=True)  # before a picture, whose library takes longer to load than a plan
    if plot is not None:
        _draw(found, strategy, plot)
        print("" if as_json else f"\nwrote a picture of it to {plot}\n", end="")


@contextmanager
def _notice(text: str, after: float):
    """Say so on stderr when this takes longer than that many seconds."""
    timer = Timer(after, print, [text], {"file": sys.stderr})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _draw(found: Answer, strategy: str | None, path: Path) -> None:
    from tdmlib import plots

    plots.use_style()
    panels = {found.named or "best plan": found.best.plans}
    if strategy:
        panels[strategy] = found.strategies[strategy].plans
    figure = plots.merge_arcs(panels)
    kind = path.suffix[1:].lower()
    write_whole(path, lambda file: figure.savefig(file, format=kind, dpi=200))
