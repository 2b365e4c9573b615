"""LightningModules: score distillation (student and fake score), and the training of a teacher.

Score distillation draws its random numbers for the whole batch and each process takes its rows, so
the run does not depend on their number. A teacher is trained in one process.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tdmlib.denoisers import FromV, Guided
from tdmlib.distill.repeatable import (
    NetworkTraining,
    OptimizerFactory,
    RepeatableTraining,
    check_optimizer,
    keyed_generator,
    warm_average,
)
from tdmlib.errors import InputError, check_number
from tdmlib.models import ResidualMLP, load_denoiser
from tdmlib.resources import find
from tdmlib.schedules import Schedule, cosine


@runtime_checkable
class ScoreMethod(Protocol):
    """What a score distillation method offers, `tdm.TDM` for one: draws, a rollout, two losses."""

    def start(self, batch: int, shape: tuple[int, ...], generator: torch.Generator):
        """What the rollouts of a batch begin with; `start[rows]` is a process's share."""

    def renoise(self, batch: int, shape: tuple[int, ...], generator: torch.Generator):
        """What diffuses the ends of the rollouts; `renoise[rows]` is a process's share."""

    def rollout(self, student, start, cond=None):
        """The student's samples, with a gradient; whatever the two losses need of them."""

    def student_objective(self, teacher, fake, rollout, renoise, cond=None):
        """The student's loss (B,) and a dict of logs."""

    def fake_objective(self, fake, rollout, renoise, cond=None):
        """The fake score's loss (B,) and a dict of logs."""


class ScoreDistillation(RepeatableTraining):
    """Train a few-step student against a frozen teacher, with a fake score that tracks it.

    Parameters
    ----------
    teacher : weights file of the teacher; student and fake score start as copies of it.
    method : makes the method from the teacher's schedule, e.g. `tdm.TDM` with its choices.
    student_optimizer, fake_optimizer : make an optimizer from parameters.
    batch_size : samples an update, over all processes together.
    updates_per_epoch : an epoch is this many updates; checkpoints and curves count epochs.
    fake_updates : updates of the fake score before each of the student.
    guidance : classifier-free guidance of the teacher.
    ema : decay of the averaged student, which is the one that is saved.
    warmup, last_rate : as in `warm_cosine`, for both networks.
    clip : gradient norm bound for both networks; None leaves gradients alone.
    seed : of every random number.

    Raises InputError for a number outside its range, or a teacher file that is none.
    """

    def __init__(
        self,
        teacher: str,
        method: Callable[[Schedule], ScoreMethod],
        student_optimizer: OptimizerFactory,
        fake_optimizer: OptimizerFactory,
        batch_size: int = 256,
        updates_per_epoch: int = 50,
        fake_updates: int = 1,
        guidance: float = 1.0,
        ema: float = 0.99,
        warmup: int = 50,
        last_rate: float = 0.05,
        clip: float | None = 1.0,
        seed: int = 0,
    ):
        original = load_denoiser(find("data", teacher))
        super().__init__(seed, ema, warmup, last_rate)
        self.batch_size = check_number("batch_size", batch_size, 1, whole=True)
        self.updates_per_epoch = check_number("updates_per_epoch", updates_per_epoch, 1, whole=True)
        self.fake_updates = check_number("fake_updates", fake_updates, 1, whole=True)
        self.clip = clip if clip is None else check_number("clip", clip, 0)
        self.automatic_optimization = False
        self.student = original.requires_grad_(True)  # in evaluation mode: no dropout
        self.fake = deepcopy(original)
        self.average = AveragedModel(original, multi_avg_fn=warm_average(ema))
        self.teacher = Guided(deepcopy(original), guidance).requires_grad_(False)
        self.average.requires_grad_(False)
        self.method = method(original.schedule)
        self.shape, self.classes = original.network.shape, original.network.classes
        self.student_optimizer = check_optimizer("student_optimizer", student_optimizer)
        self.fake_optimizer = check_optimizer("fake_optimizer", fake_optimizer)

    def train_dataloader(self):
        """No data: an epoch is a count of updates."""
        return range(self.updates_per_epoch)

    def configure_optimizers(self):
        optimizers = [
            self.student_optimizer(self.student.parameters()),
            self.fake_optimizer(self.fake.parameters()),
        ]
        return optimizers, [self.rate(optimizer) for optimizer in optimizers]

    def on_train_start(self) -> None:
        if self.batch_size % self.trainer.world_size:
            raise InputError(
                f"batch_size = {self.batch_size} does not split into {self.trainer.world_size} "
                "processes; take a multiple"
            )

    def training_step(self, batch, _):
        student_optimizer, fake_optimizer = self.optimizers()
        generator, B = self.generator(), self.batch_size
        share = B // self.trainer.world_size
        rows = slice(self.global_rank * share, (self.global_rank + 1) * share)

        cond = torch.randint(self.classes, (B,), generator=generator, device=self.device)[rows]
        start = self.method.start(B, self.shape, generator)[rows]
        rollout = self.method.rollout(self.student, start, cond)
        for _ in range(self.fake_updates):
            renoise = self.method.renoise(B, self.shape, generator)[rows]
            loss, fake_logs = self.method.fake_objective(self.fake, rollout, renoise, cond)
            self.descend(fake_optimizer, self.watch(loss, "the fake score's loss"))
        renoise = self.method.renoise(B, self.shape, generator)[rows]
        loss, logs = self.method.student_objective(self.teacher, self.fake, rollout, renoise, cond)
        self.descend(student_optimizer, self.watch(loss, "the student's loss"))

        self.average.update_parameters(self.student)
        for rate in self.lr_schedulers():
            rate.step()
        self.update += 1
        for name, value in {**logs, **fake_logs}.items():  # one on the bar, which is one line
            self.log(name, value.mean(), prog_bar=name == "student_loss", on_step=True)

    def descend(self, optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.clip is not None:
            self.clip_gradients(optimizer, self.clip, "norm")
        optimizer.step()

    def on_train_end(self) -> None:
        self.save_average("student", levels=list(self.method.grid))


class DenoiserTraining(NetworkTraining):
    """Denoising score matching: E‖v̂ − v‖², which weights clean predictions by SNR + 1.

    Parameters
    ----------
    network : the network to train.
    optimizer : makes an optimizer from parameters.
    T : number of steps of the cosine schedule.
    drop_labels : share of samples trained on the empty condition.
    ema, warmup, last_rate, seed : as in `ScoreDistillation`.

    Raises InputError for a number outside its range, or when run in more than one process.
    """

    def __init__(
        self,
        network: ResidualMLP,
        optimizer: OptimizerFactory,
        T: int = 1000,
        drop_labels: float = 0.1,
        ema: float = 0.9995,
        warmup: int = 200,
        last_rate: float = 0.02,
        seed: int = 0,
    ):
        denoiser = FromV(network, cosine(T))
        super().__init__(denoiser, "teacher", optimizer, seed, ema, warmup, last_rate)
        self.drop_labels = check_number("drop_labels", drop_labels, 0, 1)

    def loss(self, denoiser: nn.Module, batch, generator: torch.Generator) -> Tensor:
        x, labels = batch
        kwargs = dict(generator=generator, device=self.device)
        t = torch.randint(1, denoiser.schedule.T + 1, (len(x),), **kwargs)
        noise = torch.randn(x.shape, **kwargs)
        dropped = torch.rand(len(x), **kwargs) < self.drop_labels
        cond = torch.where(dropped, denoiser.network.classes, labels)
        alpha, sigma = denoiser.schedule.at(t, x)
        v = denoiser.predict(alpha * x + sigma * noise, t, cond)
        return (v - (alpha * noise - sigma * x)).square()

    def training_step(self, batch, _):
        generator = self.generator()
        torch.manual_seed(generator.initial_seed())  # dropout draws from the global generator
        loss = self.watch(self.loss(self.network, batch, generator), "the loss")
        self.update += 1
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, index):
        generator = keyed_generator(self.device, self.seed, index, 1)  # a key that no update has
        loss = self.loss(self.average.module, batch, generator).mean()
        self.log("val_loss", loss, prog_bar=True)
