"""Rollouts of a few-step student: its grids, what it is told, and which step is differentiated."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from tdmlib.denoisers import Condition, Rows
from tdmlib.errors import InputError, check_choices, check_number, check_rows, check_shapes
from tdmlib.models.told import as_tuple, check_axes, check_counts, check_range
from tdmlib.sampling import Solver, ddim_step, extrapolate, sample, time_grid
from tdmlib.schedules import Schedule

Denoiser = Callable[[Tensor, Tensor, Tensor | Condition | None], Tensor]


@dataclass(frozen=True)
class Start(Rows):
    """Where a rollout starts and which step of the student it trains; one row a sample."""

    noise: Tensor  #: x_T ~ N(0, I), (B, …)
    step: Tensor  #: k = 0 … K − 1, (B,); 0 is the last step, which lands at t = 0
    count: Tensor | None = None  #: K, (B,); None is the most that the method knows
    landing: Tensor | None = None  #: uniform in [0, 1): where a random landing lies, (B,)
    guidance: Tensor | None = None  #: the teacher's scale, where the student learns it, (B,)


@dataclass(frozen=True)
class Rollout:
    """The end of a student's rollout: its step k from t_{k+1} to the landing level i."""

    x_hat: Tensor  #: the clean prediction that the step takes, (B, …); carries the gradient
    eps_hat: Tensor  #: the noise that goes with it, (B, …)
    x_i: Tensor  #: the trajectory point, α_i x̂ + σ_i ε̂, (B, …)
    i: Tensor  #: where it lies: t_k, or above it on random landings, (B,)
    upper: Tensor  #: t_{k+1}, (B,)
    count: Tensor | None = None  #: as in `Start`
    guidance: Tensor | None = None  #: as in `Start`


@dataclass(frozen=True)
class FewSteps:
    """A student of few deterministic steps: what a method on its trajectory is built on.

    Parameters
    ----------
    schedule : the levels 0 … T on which teacher and student live.
    steps : K, or the list of levels at which the student is evaluated (`sampling.time_grid`);
        4 unless `counts` are given.
    spacing : of the levels of a step count, as in `sampling.time_grid`: 1 spreads them evenly.
    counts : step counts that one student learns together (TDM-unify).
    shares : with `counts` in rising order, how often each is drawn, as whole numbers in proportion:
        (1, 2, 4) of counts (1, 2, 4) draws every step equally often. None draws all counts alike.
    steps_aware : with `counts`, who is told K: "both" networks, the "student" or "neither".
    guidance : the lowest and highest guidance of the teacher, drawn uniformly for each sample;
        the student is told it and learns to do without two evaluations. The teacher is a `Guided`.
    solver : "ddim" or "dpm++" (`sampling.extrapolate`), of `rollout` and of `sample`.
    backpropagate : "last" differentiates the last step of a rollout, "all" every step.
    landing : "grid" lands at t_k; "random" at a level drawn uniformly from t_k … t_{k+1} − `room`.

    Raises InputError for a choice that is not offered, or a number outside its range.
    """

    schedule: Schedule
    steps: int | Sequence[int] | None = None
    counts: Sequence[int] | None = None
    shares: Sequence[int] | None = None
    spacing: float = 1.0
    steps_aware: Literal["both", "student", "neither"] = "both"
    guidance: tuple[float, float] | None = None
    solver: Solver = "ddim"
    backpropagate: Literal["last", "all"] = "last"
    landing: Literal["grid", "random"] = "grid"

    @property
    def room(self) -> int:
        """How many levels a random landing leaves below t_{k+1}."""
        return 1

    @property
    def whole_batch(self) -> bool:
        """Whether its losses need the whole batch at once, not its parts one after the other."""
        return False

    def __post_init__(self):
        def settle(name, value):  # what is frozen can be hashed
            object.__setattr__(self, name, value)

        settle("steps", as_tuple(self.steps))
        if self.counts is not None:
            given = as_tuple(self.counts)
            settle("counts", check_counts(given))
            ordered = tuple(given) if isinstance(given, range) else given
            if self.shares is not None and ordered != self.counts:
                raise InputError(f"counts = {given} beside shares: name each once, in rising order")
            if self.steps not in (None, self.counts[-1]):
                raise InputError(
                    f"steps = {self.steps} beside counts = {self.counts}: name one of them"
                )
        if self.shares is not None:
            settle("shares", _check_shares(self.shares, self.counts))
        settle("steps", self.counts[-1] if self.counts else 4 if self.steps is None else self.steps)
        if self.guidance is not None:
            settle("guidance", check_range("guidance", self.guidance))
        check_choices(self)
        if self.counts is None and self.steps_aware != "both":
            raise InputError(f"steps_aware = {self.steps_aware}: of which K? name the counts")
        _ = self.grids  # for its refusals

    @cached_property
    def grids(self) -> tuple[tuple[int, ...], ...]:
        """A grid for each step count, the longest last; shared by rollout, intervals, `sample`."""
        asked = self.counts or (self.steps,)
        return tuple(time_grid(steps, self.schedule.T, self.spacing) for steps in asked)

    @property
    def grid(self) -> tuple[int, ...]:
        """t_0 = 0 < t_1 < … < t_K for the largest K."""
        return self.grids[-1]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """K of each of the `grids`."""
        return tuple(len(grid) - 1 for grid in self.grids)

    def aware(self, network: Literal["student", "fake"]) -> dict:
        """What `network` is told besides labels, as settings of `ResidualMLP.aware`."""
        told = self.steps_aware == "both" or self.steps_aware == network
        return {"counts": self.counts if told else None, "guidance": self.guidance}

    def condition(self, network: Literal["student", "fake"], cond, drawn) -> Condition:
        """Labels, and what else `network` is told of the samples of a `Start` or `Rollout`."""
        return Condition(cond, self.aware(network)["counts"] and drawn.count, drawn.guidance)

    def start(self, batch: int, shape: tuple[int, ...], generator: torch.Generator) -> Start:
        """Draw noise (batch, *shape), K by `shares` and steps k of each K equally often.

        A batch that cannot hold them so comes near, and does on the average. Raises InputError for
        a batch that is no whole number ≥ 0, or a shape without axes.
        """
        batch, shape = check_number("batch", batch, 0, whole=True), check_axes(shape)
        device = generator.device

        def uniform():
            return torch.rand(batch, generator=generator, device=device)

        noise = torch.randn(batch, *shape, generator=generator, device=device)
        place = torch.randperm(batch, generator=generator, device=device)
        step, K = self.assign(place, generator)
        landing = uniform() if self.landing == "random" else None
        guidance = None
        if self.guidance is not None:
            low, high = self.guidance
            guidance = (low + (high - low) * uniform()).clamp_max(high)  # it may round beyond
        return Start(noise, step, K, landing, guidance)

    def assign(self, place: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Step k and count K, (B,) each, of a batch whose samples stand at `place` in a line.

        The counts take turns, spread by their shares; at each turn a count takes its next
        step.
        """
        K, turn, share = self.turns.to(place.device)
        if len(place) % self.cycle:  # a batch that does not hold it whole begins anywhere in it
            most = min(self.cycle, 2**62)
            place = place + torch.randint(most, (), generator=generator, device=place.device)
        at = place % len(turn)
        return (place // len(turn) * share[at] + turn[at]) % K[at], K[at]

    @cached_property
    def turns(self) -> Tensor:
        """Counts K in the order of a round, which of K's turns each is, of how many, (3, turns)."""
        shares = self.shares or (1,) * len(self.sizes)
        order = sorted(
            ((turn + 0.5) / share, K, turn, share)
            for K, share in zip(self.sizes, shares, strict=True)
            for turn in range(share)
        )
        return torch.tensor([turn[1:] for turn in order]).T

    @cached_property
    def cycle(self) -> int:
        """After how many samples each count begins a round of turns with its first step again."""
        K, _, share = self.turns.tolist()
        rounds = math.lcm(*(k // math.gcd(k, n) for k, n in zip(K, share, strict=True)))
        return len(K) * rounds

    def rollout(self, student: Denoiser, start: Start, cond: Tensor | None = None) -> Rollout:
        """Run the student from noise to its step k, each sample on the grid of its own K.

        `cond` are labels (B,), one for all, or None; the points have the dtype of the noise.
        Raises InputError for a K that is not learnt, a step outside 0 … K − 1, or another
        number of labels.
        """
        check_rows(len(start.noise), cond=cond)
        K = self.count(start)
        levels, told = self.levels(K), self.condition("student", cond, replace(start, count=K))
        x = start.noise.clone()
        before = torch.zeros_like(x)  # the predictions one step ago

        def step(rows, k, to):
            """From t_{k+1} to the levels `to`: (x̂, x there, ε̂)."""
            z, t = x[rows], levels[rows, k + 1]
            x_hat = ahead = student(z, t, told[rows].bare())
            if self.solver == "dpm++":
                u = levels[rows, k + 2]
                ahead = extrapolate(x_hat, before[rows], u, t, to, self.schedule)
                before[rows] = x_hat
            return ahead, *ddim_step(ahead, z, t, to, self.schedule)

        grad = torch.is_grad_enabled()
        with torch.set_grad_enabled(grad and self.backpropagate == "all"):
            for k in range(len(self.grid) - 2, 0, -1):
                rows = ((start.step < k) & (k < K)).nonzero()[:, 0]  # who goes below level t_k
                if len(rows):
                    x[rows] = step(rows, k, levels[rows, k])[1]
        rows = torch.arange(len(x), device=x.device)
        upper, i = levels[rows, start.step + 1], levels[rows, start.step]
        if self.landing == "random":
            span = upper - self.room - i + 1
            i = i + (start.landing * span).long()
        x_hat, x_i, eps_hat = step(rows, start.step, i)
        return Rollout(x_hat, eps_hat, x_i, i, upper, K, start.guidance)

    def count(self, start: Start) -> Tensor:
        """K of each sample (B,), the most where none is named. Raises InputError as `rollout`."""
        k, K = start.step, start.count
        if K is None:
            K = torch.full_like(k, self.sizes[-1])
        parts = dict(step=k, count=K, landing=start.landing, guidance=start.guidance)
        check_shapes(start.noise.shape[:1], **parts)
        for name, value in {"steps": k, "counts": K}.items():
            if value.dtype not in (torch.int64, torch.int32):
                raise InputError(f"{name} are of type {value.dtype}; they must be whole numbers")
        if self.landing == "random":
            if start.landing is None:
                raise InputError('landing = "random": the start names no landing')
            if not ((0 <= start.landing) & (start.landing < 1)).all():
                raise InputError("landing: numbers must lie in [0, 1)")
        good = torch.isin(K, torch.tensor(self.sizes, device=K.device)) & (0 <= k) & (k < K)
        if not good.all():  # one wait for a GPU, as every step of the rollout has several
            k, K = (int(v[~good][0]) for v in (k, K))
            raise InputError(
                f"step = {k} of count = {K}: the student learns steps 0 … K − 1 of "
                f"K = {', '.join(map(str, self.sizes))}"
            )
        return K

    def levels(self, K: Tensor) -> Tensor:
        """t_0 … t_K for each K of a batch (B,), t_K repeated to one length, (B, K_max + 2)."""
        size = len(self.grid) + 1
        padded = [grid + grid[-1:] * (size - len(grid)) for grid in self.grids]
        row = torch.searchsorted(torch.tensor(self.sizes, device=K.device), K)
        return torch.tensor(padded, device=K.device)[row]

    @torch.no_grad()
    def sample(
        self,
        student: Denoiser,
        noise: Tensor,
        cond: Tensor | None = None,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        """x_0 from `noise` (B, …), of its shape, on the grid of K = `steps`, the largest if None.

        The student is told what it was told in training. Raises InputError for a K that it has not
        learnt, or where guidance is missing or not learnt.
        """
        grids = dict(zip(self.sizes, self.grids, strict=True))
        K = max(grids) if steps is None else check_number("K", steps, whole=True)
        if K not in grids:
            raise InputError(f"K = {K}: the student learns K = {', '.join(map(str, grids))}")
        if (guidance is None) != (self.guidance is None):
            learnt = self.guidance and "within {} … {}".format(*self.guidance)
            raise InputError(f"guidance = {guidance}: the student learns {learnt or 'none'}")
        if guidance is not None:
            check_number("guidance", guidance, *self.guidance)
        told = Condition(cond, K if self.aware("student")["counts"] else None, guidance)
        levels = list(grids[K])
        return sample(student, noise, levels, self.schedule, told.bare(), self.solver)


def _check_shares(shares, counts: tuple[int, ...] | None) -> tuple[int, ...]:
    """How often each of `counts` is drawn, whole numbers in lowest terms; or InputError."""
    if counts is None:
        raise InputError(f"shares = {shares}: of which counts? name them, as in counts = (1, 2, 4)")
    given = as_tuple(shares)
    if not isinstance(given, tuple) or len(given) != len(counts):
        raise InputError(f"shares = {shares!r:.40}: give one for each of counts = {counts}")
    given = tuple(check_number("share", share, 1, 1000, whole=True) for share in given)
    return tuple(share // math.gcd(*given) for share in given)
