"""Students of a teacher whose score is known: Gaussian mixtures, trained in less than a minute."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from lightning.pytorch import Trainer

from tdmlib.denoisers import Corrected, MixtureDenoiser
from tdmlib.distill.lit import ScoreDistillation
from tdmlib.distill.method import ScoreMethod
from tdmlib.errors import InputError
from tdmlib.mixtures import GaussianMixture
from tdmlib.models import ResidualMLP, StepExperts
from tdmlib.schedules import Schedule, cosine


def mixture_start(
    mixture: GaussianMixture, schedule: Schedule, width: int = 64, blocks: int = 2,
    embedding: int = 32, fourier: int = 256, bandwidth: float = 2.0, seed: int = 0,
    grids: Sequence[Sequence[int]] | None = None,
) -> Corrected:  # fmt: skip
    """The exact denoiser of a mixture plus a small network whose output starts at zero.

    Without its `fourier` features a student of close modes does not learn to tell them
    apart; their `bandwidth` suits modes about one apart. Sizes are as in `ResidualMLP`.
    With `grids`, as `FewSteps.grids` where they end at T, each of their steps has a
    network of its own (`StepExperts`).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ResidualMLP(
            (mixture.dim,), schedule.T, 1, width, blocks, embedding,
            fourier=fourier, bandwidth=bandwidth,
        )  # fmt: skip
    network = StepExperts(network, grids) if grids is not None else network
    return Corrected(network, MixtureDenoiser(schedule, mixture))


def mixture_distillation(
    mixture: GaussianMixture,
    method: Callable[[Schedule], ScoreMethod],
    schedule: Schedule | None = None,
    *,
    rate: float = 3e-4,
    fake_rate: float = 1e-3,
    seed: int = 0,
    network: dict | None = None,
    start: Corrected | None = None,
    **settings,
) -> ScoreDistillation:
    """The distillation of a mixture's exact score, ready to `train`.

    Student and fake score start as copies of the teacher, `start` or else a
    `mixture_start` of the settings `network`. `schedule` is the cosine one of 1000 steps
    unless given, `rate` and `fake_rate` are those of AdamW with β = (0, 0.99), `settings`
    those of `ScoreDistillation`. Raises InputError as that, and for both `start` and
    `network`.
    """
    if start is not None and network is not None:
        raise InputError("start is a network already: leave out the settings of another")
    schedule = schedule or cosine(1000)
    adamw = partial(torch.optim.AdamW, betas=(0.0, 0.99), weight_decay=0.0, fused=True)
    return ScoreDistillation(
        MixtureDenoiser(schedule, mixture),
        method,
        partial(adamw, lr=rate),
        partial(adamw, lr=fake_rate),
        seed=seed,
        start=start or mixture_start(mixture, schedule, **{"seed": seed} | (network or {})),
        **settings,
    )


def train(distillation: ScoreDistillation) -> ScoreDistillation:
    """Make an epoch of updates on the processor, which leaves no file; returns the distillation."""
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(distillation)
    return distillation
