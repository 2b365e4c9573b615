"""One update of the public TDM script as a plain loop, written from what is reported of it.

As its README runs it: K = 4 steps from level 9T/10, separate intervals, guidance 4.5, one fake
update for each of the student, AdamW with β = (0, 0.95), the student alone clipped. It rolls out
all K steps whichever is trained, and makes the trained step's prediction twice more: for the fake
score, and with a gradient for the student. It asks the teacher once for an answer that nothing
uses. Where its rollout lands at 674, its loss assumes 675: `drift`.

The yardstick of tdm_update.py.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from tdmlib.distill.repeatable import warm_cosine
from tdmlib.schedules import Schedule


@dataclass(frozen=True)
class Draws:
    """The random numbers of one update; a pair is for the fake score and for the student."""

    noise: Tensor  #: (B, …)
    step: Tensor  #: which evaluation is trained, 0 the noisiest, (B,)
    tau: tuple[Tensor, Tensor]  #: levels, (B,) each
    eps: tuple[Tensor, Tensor]  #: (B, …) each


class ScriptLoop:
    """Three full copies of `teacher`, a denoiser (z, t, cond) -> x̂, and the update of two.

    `drift` is by how many levels the loss misreads where the rollout lands; 1 in the script.
    `fused` asks for PyTorch's fused AdamW, as the script does not.
    """

    def __init__(
        self, teacher, schedule: Schedule, K: int = 4, cfg: float = 4.5, updates: int = 20_000,
        drift: int = 1, fused: bool = False,
    ):  # fmt: skip
        self.teacher = deepcopy(teacher).eval().requires_grad_(False)
        self.student, self.fake = (deepcopy(teacher).eval().requires_grad_(True) for _ in range(2))
        self.cfg, self.lowest, self.headroom = cfg, 20, 10
        like = next(teacher.parameters())
        self.alpha, self.sigma = (
            torch.tensor(level, dtype=like.dtype, device=like.device)
            for level in (schedule.alpha, schedule.sigma)
        )
        times = [9 * schedule.T * i // (10 * K) for i in range(K, 0, -1)]
        self.times = torch.tensor(times, device=like.device)  # 899, 674, 449, 224
        self.lands = torch.tensor([*times[1:], 0], device=like.device)  # 674, 449, 224, 0
        self.ends = self.lands + drift * (self.lands > 0)  # 675, 450, 225, 0
        self.tops = self.times + drift
        betas = dict(betas=(0.0, 0.95), fused=fused)
        self.student_optimizer = torch.optim.AdamW(self.student.parameters(), lr=4e-6, **betas)
        self.fake_optimizer = torch.optim.AdamW(self.fake.parameters(), lr=2e-5, **betas)
        self.rate = torch.optim.lr_scheduler.LambdaLR(
            self.student_optimizer, warm_cosine(500, updates, 0.0)
        )

    def draw(self, batch: int, shape: tuple[int, ...]) -> Draws:
        kwargs = dict(device=self.alpha.device, dtype=self.alpha.dtype)
        step = torch.randint(len(self.times), (batch,), device=self.alpha.device)
        low, top = self.ends[step].clamp_min(self.lowest), self.tops[step] - self.headroom
        return Draws(
            torch.randn(batch, *shape, **kwargs),
            step,
            tuple(low + (torch.rand(batch, **kwargs) * (top - low)).long() for _ in range(2)),
            tuple(torch.randn(batch, *shape, **kwargs) for _ in range(2)),
        )

    def at(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, *[1] * (x.ndim - 1))
        return self.alpha[t].reshape(shape), self.sigma[t].reshape(shape)

    def step(self, x_hat: Tensor, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """DDIM from level t to s."""
        (alpha, sigma), (alpha_s, sigma_s) = self.at(t, x), self.at(s, x)
        return alpha_s * x_hat + sigma_s * (x - alpha * x_hat) / sigma

    def diffuse(self, x: Tensor, end: Tensor, tau: Tensor, eps: Tensor) -> Tensor:
        """From level `end` to τ."""
        (alpha, sigma), (alpha_tau, sigma_tau) = self.at(end, x), self.at(tau, x)
        scale = alpha_tau / alpha
        return scale * x + (sigma_tau**2 - scale**2 * sigma**2).sqrt() * eps

    @torch.no_grad()
    def rollout(self, noise: Tensor, cond: Tensor) -> Tensor:
        """What the student sees at each of its K evaluations, (K, B, …)."""
        x, seen = noise, []
        for t, s in zip(self.times, self.lands, strict=True):
            t, s = t.expand(len(x)), s.expand(len(x))
            seen.append(x)
            x = self.step(self.student(x, t, cond), x, t, s)
        return torch.stack(seen)

    def trained(self, seen: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """The states before the trained steps, their levels and where they land."""
        rows = torch.arange(len(draws.step), device=seen.device)
        return seen[draws.step, rows], self.times[draws.step], self.lands[draws.step]

    def fake_loss(self, seen: Tensor, draws: Draws, cond: Tensor) -> Tensor:
        (x, t, s), tau, eps = self.trained(seen, draws), draws.tau[0], draws.eps[0]
        with torch.no_grad():
            x_hat = self.student(x, t, cond)
            x_tau = self.diffuse(self.step(x_hat, x, t, s), self.ends[draws.step], tau, eps)
            self.teacher(x_tau, tau, cond)  # nothing uses it
        alpha, sigma = self.at(tau, x)
        mixed = (x_tau - alpha * x_hat) / sigma
        ratio = (-0.5 * (mixed**2).flatten(1).mean(1)).exp() / (
            -0.5 * (eps**2).flatten(1).mean(1)
        ).exp()
        snr = ((alpha / sigma) ** 2).flatten()
        square = ((self.fake(x_tau, tau, cond) - x_hat) ** 2).flatten(1).mean(1)
        return (snr.clamp_max(5.0) * ratio * square).mean()

    def student_loss(self, seen: Tensor, draws: Draws, cond: Tensor) -> Tensor:
        (x, t, s), tau, eps = self.trained(seen, draws), draws.tau[1], draws.eps[1]
        x_hat = self.student(x, t, cond)
        with torch.no_grad():
            x_tau = self.diffuse(self.step(x_hat, x, t, s), self.ends[draws.step], tau, eps)
            real, empty = self.teacher(x_tau, tau, cond), self.teacher(x_tau, tau, None)
            fake = self.fake(x_tau, tau, cond)
            guided = real + (self.cfg - 1) * (real - empty)
            target = x_hat + guided - fake
            scale = (x_hat - guided).abs().flatten(1).mean(1)
        value = ((x_hat - target) ** 2 + 1e-3**2).sqrt() - 1e-3
        return (value.flatten(1).mean(1) / scale).mean()

    def update(self, draws: Draws, cond: Tensor) -> None:
        seen = self.rollout(draws.noise, cond)

        self.fake_loss(seen, draws, cond).backward()
        self.fake_optimizer.step()
        self.fake_optimizer.zero_grad()

        self.student_loss(seen, draws, cond).backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.student_optimizer.step()
        self.rate.step()
        self.student_optimizer.zero_grad()
