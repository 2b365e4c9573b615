"""Trajectory distribution matching (Luo et al., ICCV 2025).

A student of K deterministic steps on t_K > … > t_1 > t_0 = 0 learns, for every i, that the law of
its own trajectory point x_{t_i}, diffused forward to τ ∈ (t_i, t_{i+1}], is the teacher's law at τ:

    L(θ) = Σ_i Σ_τ w_τ KL(p_{θ,τ|t_i} ‖ p_{φ,τ}),
    ∇_θ KL = E[(score_ψ − score_φ)(x_τ, τ) · ∂x_τ/∂θ].

A fake score ψ tracks the student. Scores are written as clean predictions,
score = (α x̂ − z)/σ², so that score_ψ − score_φ is proportional to x̂_ψ − x̂_φ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from tdmlib.distill.losses import Metric, fake_loss, student_loss
from tdmlib.distill.renoise import (
    Renoise,
    diffuse,
    importance_weight,
    mixed_noise,
    transition_target,
)
from tdmlib.errors import InputError, check_number, check_positive
from tdmlib.sampling import ddim_step, time_grid
from tdmlib.schedules import Schedule

Denoiser = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Start:
    """Where a rollout starts and which step of the student it trains; one row a sample."""

    noise: Tensor  #: x_T ~ N(0, I), (B, …)
    step: Tensor  #: k = 0 … K − 1, (B,); 0 is the last step, which lands at t = 0

    def __getitem__(self, rows) -> "Start":
        return Start(self.noise[rows], self.step[rows])


@dataclass(frozen=True)
class Rollout:
    """The end of a student's rollout: its step from t_{k+1} to t_k."""

    x_hat: Tensor  #: clean prediction at t_{k+1}, (B, …); carries the gradient
    eps_hat: Tensor  #: the noise that goes with it, (B, …)
    x_i: Tensor  #: the trajectory point x_{t_k}, (B, …)
    i: Tensor  #: t_k, (B,)
    upper: Tensor  #: t_{k+1}, (B,)


@dataclass(frozen=True)
class TDM:
    """Trajectory distribution matching: the choices, and the two losses.

    Parameters
    ----------
    schedule : the levels 0 … T on which teacher, student and fake score live.
    steps : K, or the list of levels at which the student is evaluated (`sampling.time_grid`).
    interval : "separate" draws τ from (t_k, t_{k+1}], so that one fake score serves every step;
        "full" draws it from (t_k, T].
    fake_target : what the fake score regresses. "denoised" is the student's clean prediction x̂,
        "transition" the score of q(x_τ | x_{t_k}), exact but singular as τ falls to t_k.
    matched : "noisy" diffuses the trajectory point x_{t_k}, as the paper does; "clean" diffuses x̂.
    metric, c, normalize : as in `student_loss`.
    snr_cap : the fake loss is weighted by min(SNR, snr_cap).
    weighted : multiply the fake loss by the public script's `importance_weight`.
    margin : τ starts this many levels above t_k.

    Raises InputError for a choice that is not offered, or a number outside its range.
    """

    schedule: Schedule
    steps: int | Sequence[int] = 4
    interval: Literal["separate", "full"] = "separate"
    fake_target: Literal["denoised", "transition"] = "denoised"
    matched: Literal["noisy", "clean"] = "noisy"
    metric: Metric = "pseudo_huber"
    c: float | None = None
    normalize: bool = False
    snr_cap: float = 5.0
    weighted: bool = False
    margin: int = 1

    def __post_init__(self):
        steps = self.steps.tolist() if hasattr(self.steps, "tolist") else self.steps
        if isinstance(steps, list):  # what is frozen can be hashed
            object.__setattr__(self, "steps", tuple(steps))
        gaps = [b - a for a, b in pairwise(self.grid)]
        check_number("margin", self.margin, 1, min(gaps), whole=True)
        if self.c is not None:
            check_positive("c", self.c)
        check_positive("snr_cap", self.snr_cap)
        for name, allowed in (
            ("metric", get_args(Metric)),
            ("interval", ("separate", "full")),
            ("fake_target", ("denoised", "transition")),
            ("matched", ("noisy", "clean")),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"{name} = {getattr(self, name)!r}: choose one of {', '.join(allowed)}"
                )

    @property
    def grid(self) -> tuple[int, ...]:
        """t_0 = 0 < t_1 < … < t_K, shared by rollout, interval and sampler."""
        return time_grid(self.steps, self.schedule.T)

    def start(self, batch: int, shape: tuple[int, ...], generator: torch.Generator) -> Start:
        """Draw noise, and steps k that occur equally often in the batch."""
        device = generator.device
        return Start(
            noise=torch.randn(batch, *shape, generator=generator, device=device),
            step=torch.randperm(batch, generator=generator, device=device) % (len(self.grid) - 1),
        )

    def renoise(self, batch: int, shape: tuple[int, ...], generator: torch.Generator) -> Renoise:
        """Draw what diffuses a batch of trajectory points; anew for every update of a network."""
        device = generator.device
        return Renoise(
            u=torch.rand(batch, generator=generator, device=device),
            noise=torch.randn(batch, *shape, generator=generator, device=device),
        )

    def rollout(self, student: Denoiser, start: Start, cond: Tensor | None = None) -> Rollout:
        """Run the student from noise to its step k; only that step keeps a gradient."""
        grid = torch.tensor(self.grid, device=start.step.device)
        x = start.noise.clone()
        with torch.no_grad():
            for step in range(len(grid) - 2, 0, -1):
                rows = (start.step < step).nonzero()[:, 0]  # who goes below level t_step
                if len(rows) == 0:
                    continue
                t = grid[step + 1].expand(len(rows))
                x_hat = student(x[rows], t, None if cond is None else cond[rows])
                x[rows] = ddim_step(x_hat, x[rows], t, grid[step], self.schedule)[0]
        upper, i = grid[start.step + 1], grid[start.step]
        x_hat = student(x, upper, cond)
        x_i, eps_hat = ddim_step(x_hat, x, upper, i, self.schedule)
        return Rollout(x_hat, eps_hat, x_i, i, upper)

    def tau(self, rollout: Rollout, u: Tensor) -> Tensor:
        """Levels τ, uniform on t_k + margin … t_{k+1} (or … T on full intervals), shape (B,)."""
        full = torch.full_like(rollout.i, self.schedule.T)
        low, top = rollout.i + self.margin, rollout.upper if self.interval == "separate" else full
        return low + (u * (top - low + 1)).long()

    def diffused(self, rollout: Rollout, renoise: Renoise) -> tuple[Tensor, Tensor]:
        """(x_τ, τ) without gradient; from x_{t_k}, or from x̂ at level 0 if `matched` is "clean"."""
        tau = self.tau(rollout, renoise.u)
        i, x = rollout.i, rollout.x_i
        if self.matched == "clean":
            i, x = torch.zeros_like(i), rollout.x_hat
        return diffuse(x.detach(), i, tau, renoise.noise, self.schedule), tau

    def student_objective(
        self,
        teacher: Denoiser,
        fake: Denoiser,
        rollout: Rollout,
        renoise: Renoise,
        cond: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The student's loss (B,) and logs; one teacher evaluation (guide it by `Guided`).

        The loss is in units of clean predictions: the positive factors between x_{t_k}
        and x̂ are left in w_τ.
        """
        x_tau, tau = self.diffused(rollout, renoise)
        with torch.no_grad():
            x_teacher, x_fake = teacher(x_tau, tau, cond), fake(x_tau, tau, cond)
        loss = student_loss(
            rollout.x_hat,
            x_teacher,
            x_fake,
            metric=self.metric,
            c=self.c,
            normalize=self.normalize,
        )
        gap = (x_teacher - x_fake).flatten(1).norm(dim=1)
        return loss, {"student_loss": loss.detach(), "score_gap": gap}

    def fake_objective(
        self, fake: Denoiser, rollout: Rollout, renoise: Renoise, cond: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The fake score's loss (B,) and logs; no gradient reaches the student."""
        x_tau, tau = self.diffused(rollout, renoise)
        weight = None
        if self.weighted and self.matched == "noisy":  # else the weight is one
            eps_hat, i = rollout.eps_hat.detach(), rollout.i
            mixed = mixed_noise(eps_hat, renoise.noise, i, tau, self.schedule)
            weight = importance_weight(mixed, renoise.noise)
        alpha, sigma = (level.flatten() for level in self.schedule.at(tau, x_tau))
        loss = fake_loss(
            fake(x_tau, tau, cond),
            self.fake_regression_target(rollout, renoise, tau),
            snr=(alpha / sigma) ** 2,
            snr_cap=self.snr_cap,
            weight=weight,
        )
        return loss, {"fake_loss": loss.detach()}

    def fake_regression_target(self, rollout: Rollout, renoise: Renoise, tau: Tensor) -> Tensor:
        """The clean prediction that the fake score regresses at x_τ, shape of x̂."""
        if self.fake_target == "denoised" or self.matched == "clean":
            return rollout.x_hat.detach()
        return transition_target(rollout.x_i.detach(), rollout.i, tau, renoise.noise, self.schedule)
