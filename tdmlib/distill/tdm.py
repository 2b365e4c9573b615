"""Trajectory distribution matching (Luo et al., ICCV 2025).

A student of K deterministic steps on t_K > … > t_1 > t_0 = 0 learns, for every i, that the law of
its own trajectory point x_{t_i}, diffused forward to τ ∈ (t_i, t_{i+1}], is the teacher's law at τ:

    L(θ) = Σ_i Σ_τ w_τ KL(p_{θ,τ|t_i} ‖ p_{φ,τ}),
    ∇_θ KL = E[(score_ψ − score_φ)(x_τ, τ) · ∂x_τ/∂θ].

A fake score ψ tracks the student. Scores are written as clean predictions,
score = (α x̂ − z)/σ², so that score_ψ − score_φ is proportional to x̂_ψ − x̂_φ.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Self

import torch
from torch import Tensor

from tdmlib.denoisers import Condition
from tdmlib.distill.divergences import fisher_predictions, kl_predictions
from tdmlib.distill.losses import Metric, check_cap, check_scale, fake_loss, student_loss
from tdmlib.distill.renoise import (
    Renoise,
    density_ratio,
    diffuse,
    importance_weight,
    mixed_noise,
    stable_target,
    transition_precision,
    transition_target,
)
from tdmlib.distill.rollout import Denoiser, FewSteps, Rollout
from tdmlib.errors import InputError, check_number, check_positive, check_shapes
from tdmlib.models.told import check_axes
from tdmlib.schedules import Schedule


@dataclass(frozen=True)
class TDM(FewSteps):
    """Trajectory distribution matching: the choices, and the two losses.

    Parameters
    ----------
    schedule … landing : as in `FewSteps`.
    interval : "separate" draws τ from (i, t_{k+1}], so that one fake score serves every step;
        "full" draws it from (i, T].
    fake_sees_origin : the fake score is told i, the level of the point that was diffused, which
        names the step of the student: without it full intervals mix the laws of all steps.
    margin, lowest, headroom : τ starts `margin` levels above i and not below `lowest`, and ends
        `headroom` levels below the end of its interval.
    shift : τ is uniform between the two for 1, and leans to the noisy end above that: u in [0, 1)
        becomes shift · u/(1 + (shift − 1) u), as in Esser et al. (2024).
    divergence : "kl" or "fisher", see `divergences`.
    matched : "noisy" diffuses the trajectory point x_i, as the paper does; "clean" diffuses x̂.
    metric, c, normalize : as in `student_loss`.
    fake_target : what the fake score regresses. "denoised" is the student's clean prediction x̂,
        "transition" the score of q(x_τ | x_i), exact but singular as τ falls to i, and "stable"
        the mean of that over the batch, see `stable_target`: for samples of few coordinates.
    snr_cap : the fake loss is weighted by min(SNR, snr_cap).
    weight : multiply that by nothing ("none"); for the denoised target also by the public script's
        `importance_weight` ("script") or by the `density_ratio` ("exact"), at most `weight_cap` if
        that is given. For the other targets "precision" takes `transition_precision` in place of
        the SNR. That depends on i: a fake score that several steps share at one τ and that is not
        told i, as on full intervals, learns their laws in other proportions.

    Raises InputError for a choice that is not offered, a number outside its range, or a step whose
    only τ is pure noise.
    """

    interval: Literal["separate", "full"] = "separate"
    fake_sees_origin: bool = False
    margin: int = 1
    lowest: int = 1
    headroom: int = 0
    shift: float = 1.0
    divergence: Literal["kl", "fisher"] = "kl"
    matched: Literal["noisy", "clean"] = "noisy"
    metric: Metric = "pseudo_huber"
    c: float | None = None
    normalize: bool = False
    fake_target: Literal["denoised", "transition", "stable"] = "denoised"
    snr_cap: float = 5.0
    weight: Literal["none", "script", "exact", "precision"] = "none"
    weight_cap: float | None = None

    @classmethod
    def paper(cls, schedule: Schedule, **choices) -> Self:
        """The paper's setting, as reported: a pseudo-Huber metric per sample with c = 0.00054 √d
        and no normaliser, separate intervals on t_i = iT/K, the density ratio in the fake loss.

        It was trained by AdamW with β = (0, 0.999) and a gradient norm of at most 1 for both
        networks, one fake update for each of the student; for SD-v1.5 at rates 2e-6 (student) and
        2e-5 (fake score), batch 256 and guidance 3.5. Ours: SNR is capped at 5, as in `script`.
        """
        return cls(schedule, **dict(weight="exact") | choices)

    @classmethod
    def script(cls, schedule: Schedule, steps: int = 4, **choices) -> Self:
        """The public script's setting, as its README runs it on 1000 steps, for any T.

        The student is evaluated at floor(0.9 iT/K); the metric is per element with c = 1e-3, over
        the normaliser; the fake loss is weighted by min(SNR, 5) and the script's weight; τ lies 2%
        of T above clean data and 1.1% below t_{k+1}. Its optimiser was AdamW with β = (0, 0.95),
        at 4e-6 for the student, clipped, and 2e-5 for the fake score, not clipped, guidance 4.5.
        Ours: one grid, where its loss counts one level more than its rollout, and τ > i, where it
        allows τ = i. Its timesteps are levels of a schedule with σ_0 > 0.
        """
        if (T := schedule.T) < 2:
            raise InputError("T = 1: the script's steps at 0.9 T need a schedule of T ≥ 2 steps")
        K = check_number("K", steps, 1, T // 2, whole=True)
        grid = [9 * T * i // (10 * K) for i in range(K + 1)]
        gap = min(b - a for a, b in pairwise(grid))
        published = dict(
            steps=grid[1:],
            metric="pseudo_huber_elementwise",
            normalize=True,
            weight="script",
            lowest=max(1, round(0.02 * T)),
            headroom=min(round(0.011 * T), gap - 1),
        )
        return cls(schedule, **published | choices)

    def __post_init__(self):
        super().__post_init__()
        gap = min(b - a for grid in self.grids for a, b in pairwise(grid))
        check_number("margin", self.margin, 1, gap, whole=True)
        check_number("headroom", self.headroom, 0, gap - self.margin, whole=True)
        first = min(grid[1] for grid in self.grids)
        check_number("lowest", self.lowest, 1, first - self.headroom, whole=True)
        low = max(max(grid[-2] + self.margin, self.lowest) for grid in self.grids)
        if low == self.schedule.T and self.schedule.alpha[-1] == 0:
            raise InputError(
                f"a step from T = {low} has no τ but T, where alpha_T = 0 leaves nothing of its "
                "samples; take fewer steps or a smaller margin or lowest"
            )
        if self.c is not None:
            check_scale(self.c)
        check_cap("snr_cap", self.snr_cap)
        if self.weight_cap is not None:
            check_cap("weight_cap", self.weight_cap)
        check_positive("shift", self.shift, 1e6)
        if self.fake_target == "stable" and (self.guidance or self.landing == "random"):
            raise InputError(
                "fake_target = stable averages over points of one law, and no two samples have the "
                'same guidance or landing; take "transition"'
            )
        wanted = ("none", "script", "exact")
        if self.fake_target != "denoised":
            wanted = ("none", "precision")
        if self.weight not in wanted:
            names = " or ".join(f'"{name}"' for name in wanted)
            raise InputError(f"weight = {self.weight}: the {self.fake_target} target wants {names}")
        if self.weight_cap is not None and self.weight != "exact":
            raise InputError(f'weight_cap = {self.weight_cap}: bounds weight = "exact" alone')

    @property
    def room(self) -> int:
        """A random landing leaves τ at least one level."""
        return self.margin + self.headroom

    @property
    def whole_batch(self) -> bool:
        """The stable target averages over it."""
        return self.fake_target == "stable"

    def aware(self, network: Literal["student", "fake"]) -> dict:
        told = {"origin": True} if network == "fake" and self.fake_sees_origin else {}
        return super().aware(network) | told

    def condition(self, network: Literal["student", "fake"], cond, drawn) -> Condition:
        told = super().condition(network, cond, drawn)
        return replace(told, origin=drawn.i) if "origin" in self.aware(network) else told

    def renoise(self, batch: int, shape: tuple[int, ...], generator: torch.Generator) -> Renoise:
        """Draw what diffuses `batch` points of `shape`; anew for every update of a network.

        Raises InputError for a batch that is no whole number ≥ 0, or a shape without axes.
        """
        batch, shape = check_number("batch", batch, 0, whole=True), check_axes(shape)
        device = generator.device
        return Renoise(
            u=torch.rand(batch, generator=generator, device=device),
            noise=torch.randn(batch, *shape, generator=generator, device=device),
        )

    def tau(self, rollout: Rollout, u: Tensor) -> Tensor:
        """Levels τ within max(i + margin, lowest) … t_{k+1} − headroom, shape (B,).

        They are uniform for uniform `u` (B,) in [0, 1) and shift = 1; on full intervals
        they end at T − headroom.
        Raises InputError for another shape, and for `u` outside [0, 1), but on a GPU.
        """
        check_shapes(rollout.i.shape, u=u)
        if u.device.type == "cpu" and not ((u >= 0) & (u < 1)).all():  # a GPU is not waited for
            raise InputError("u: numbers must lie in [0, 1)")
        full = torch.full_like(rollout.i, self.schedule.T)
        top = (rollout.upper if self.interval == "separate" else full) - self.headroom
        low = (rollout.i + self.margin).clamp_min(self.lowest)
        u = self.shift * u / (1 + (self.shift - 1) * u)
        return torch.minimum(low + (u * (top - low + 1)).long(), top)  # u may round to one

    def point(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """What is diffused, without gradient, and its level (B,): x_i at i, or x̂ at level 0."""
        if self.matched == "clean":
            return rollout.x_hat.detach(), torch.zeros_like(rollout.i)
        return rollout.x_i.detach(), rollout.i

    def diffused(self, rollout: Rollout, renoise: Renoise) -> tuple[Tensor, Tensor]:
        """(x_τ, τ), the first without gradient and of the shape of x̂, from `point`; τ is (B,)."""
        tau = self.tau(rollout, renoise.u)
        return diffuse(*self.point(rollout), tau, renoise.noise, self.schedule), tau

    def student_objective(
        self,
        teacher: Denoiser,
        fake: Denoiser,
        rollout: Rollout,
        renoise: Renoise,
        cond: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The student's loss (B,) and logs; one teacher evaluation (guide it by `Guided`).

        The loss is in units of clean predictions: the positive factors between x_i and x̂ are
        left in w_τ.
        """
        told = self.condition("fake", cond, rollout).bare()
        label = Condition(cond, guidance=rollout.guidance).bare()
        tau = self.tau(rollout, renoise.u)
        predict = {"kl": kl_predictions, "fisher": fisher_predictions}[self.divergence]
        x_teacher, x_fake = predict(
            lambda z: teacher(z, tau, label),
            lambda z: fake(z, tau, told),
            *self.point(rollout),
            tau,
            renoise.noise,
            self.schedule,
        )
        loss = student_loss(
            self.carrier(rollout),
            x_teacher,
            x_fake,
            metric=self.metric,
            c=self.c,
            normalize=self.normalize,
        )
        gap = (x_teacher - x_fake).flatten(1).norm(dim=1)
        return loss, {"student_loss": loss.detach(), "score_gap": gap}

    def carrier(self, rollout: Rollout) -> Tensor:
        """x̂ (B, …), with the gradient of x_i over ∂x_i/∂x̂ = α_i − σ_i α/σ at t_{k+1}.

        The two differ where the steps before the last are differentiated as well.
        """
        if self.backpropagate == "last" or self.matched == "clean":
            return rollout.x_hat
        x_hat, x_i = rollout.x_hat.detach(), rollout.x_i
        alpha, sigma = self.schedule.at(rollout.upper, x_i)
        alpha_i, sigma_i = self.schedule.at(rollout.i, x_i)
        return x_hat + (x_i - x_i.detach()) / (alpha_i - sigma_i * alpha / sigma)

    def fake_objective(
        self, fake: Denoiser, rollout: Rollout, renoise: Renoise, cond: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The fake score's loss (B,) and logs; no gradient reaches the student."""
        x_tau, tau = self.diffused(rollout, renoise)
        alpha, sigma = (level.flatten() for level in self.schedule.at(tau, x_tau))
        factor, weight = (alpha / sigma) ** 2, self.fake_weight(rollout, renoise, tau)
        if self.weight == "precision":
            factor = transition_precision(self.point(rollout)[1], tau, self.schedule, x_tau)
        told = self.condition("fake", cond, rollout)
        loss = fake_loss(
            fake(x_tau, tau, told.bare()),
            self.fake_regression_target(rollout, renoise, tau, cond),
            snr=factor,
            snr_cap=self.snr_cap,
            weight=weight,
        )
        return loss, {"fake_loss": loss.detach()}

    def fake_weight(self, rollout: Rollout, renoise: Renoise, tau: Tensor) -> Tensor | None:
        """The weight of each sample in the fake loss, (B,), beside that of its level.

        None, for one, where `weight` is "none" or "precision", or x̂ itself is diffused.
        """
        if self.weight in ("none", "precision") or self.matched == "clean":
            return None
        levels, noise = (rollout.i, tau, self.schedule), renoise.noise
        mixed = mixed_noise(rollout.eps_hat.detach(), noise, *levels)
        if self.weight == "script":
            return importance_weight(mixed, noise)
        return density_ratio(mixed, noise, *levels, cap=self.weight_cap)

    def fake_regression_target(
        self, rollout: Rollout, renoise: Renoise, tau: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        """The clean prediction that the fake score regresses at x_τ, shape of x̂."""
        if self.fake_target == "denoised":
            return rollout.x_hat.detach()
        way = *self.point(rollout), tau, renoise.noise, self.schedule
        if self.fake_target == "transition":
            return transition_target(*way)
        known = [k for k in (rollout.i, rollout.count, cond) if getattr(k, "ndim", 0)]
        columns = [k.double().reshape(len(k), math.prod(k.shape[1:])) for k in known]
        columns = torch.cat(columns, dim=1)
        group = torch.zeros_like(rollout.i)
        for column in columns.T:  # unique over rows at once takes far longer
            values, place = column.unique(return_inverse=True)
            group = (group * len(values) + place).unique(return_inverse=True)[1]
        return stable_target(*way, group)
