"""What `ScoreDistillation` asks of a method; `tdm.TDM` is one."""

from typing import Protocol, runtime_checkable

import torch


@runtime_checkable
class ScoreMethod(Protocol):
    """A score distillation method: its draws, a rollout and two losses.

    Besides it has the attributes `grids`, `counts`, `guidance`, `solver` and `whole_batch` of
    `FewSteps`, of which a protocol of classes cannot speak.
    """

    def aware(self, network: str) -> dict:
        """What "student" or "fake" is told besides labels: settings of `ResidualMLP.aware`."""

    def start(self, batch: int, shape: tuple[int, ...], generator: torch.Generator):
        """What the rollouts of a batch begin with; `start[rows]` is a part of the batch."""

    def renoise(self, batch: int, shape: tuple[int, ...], generator: torch.Generator):
        """What diffuses the ends of the rollouts; `renoise[rows]` is a part of the batch."""

    def rollout(self, student, start, cond=None):
        """The student's samples, with a gradient; whatever the two losses need of them."""

    def student_objective(self, teacher, fake, rollout, renoise, cond=None):
        """The student's loss (B,) and a dict of logs."""

    def fake_objective(self, fake, rollout, renoise, cond=None):
        """The fake score's loss (B,) and a dict of logs."""

    def sample(self, student, noise, cond=None, steps=None, guidance=None):
        """What the student makes of noise, as it was trained to."""
