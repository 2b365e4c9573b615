"""LightningModules: score distillation (student and fake score), and the training of a teacher.

Score distillation draws its random numbers for the whole batch and each process takes its rows, so
the run does not depend on their number. A teacher is trained in one process.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn

from tdmlib.denoisers import FromV, Guided
from tdmlib.distill.method import ScoreMethod
from tdmlib.distill.repeatable import (
    NetworkTraining,
    OptimizerFactory,
    RepeatableTraining,
    average_of,
    check_optimizer,
    keyed_generator,
)
from tdmlib.distill.rollout import Denoiser
from tdmlib.errors import InputError, check_number, check_positive
from tdmlib.models import CountExperts, ResidualMLP, StepExperts, load_denoiser
from tdmlib.models.weights import check_saveable
from tdmlib.resources import find
from tdmlib.schedules import Schedule, cosine


class ScoreDistillation(RepeatableTraining):
    """Train a few-step student against a frozen teacher, with a fake score that tracks it.

    Parameters
    ----------
    teacher : weights file of the teacher, or a denoiser, such as one in closed form.
    method : makes the method from the teacher's schedule, e.g. `tdm.TDM` with its choices.
    student_optimizer, fake_optimizer : make an optimizer from parameters.
    batch_size : samples an update, over all processes and parts together.
    accumulate : a process takes its share of the batch in so many parts, one after the other: the
        memory of one part, and the update of all.
    updates_per_epoch : an epoch is this many updates; checkpoints and curves count epochs.
    fake_updates : updates of the fake score after each of the student.
    fake_by_count : a fake score for each of the method's `counts`, in place of one that is told K:
        what it knows of one count then does not suffer from the others. That takes the memory of as
        many networks and optimizers. The student is one network.
    guidance : classifier-free guidance of the teacher.
    ema : decay of the averaged student, which is the one that is saved; 0, as in the script, saves
        the student as it is.
    warmup, last_rate : as in `warm_cosine`, for both networks.
    clip : bound on the gradient's norm, of student and fake score each as a whole, experts and all;
        None leaves gradients alone.
    seed : of every random number.
    start : weights file or `denoisers` wrapper of a network of which student and fake score start
        as copies; by default the teacher.

    In several processes it wants the strategy ddp_find_unused_parameters_true (or …fork…), as each
    loss moves one of two networks.

    Raises InputError for a number outside its range, a weights file that is none, or a teacher
    without a network where `start` is not given.
    """

    def __init__(
        self,
        teacher: str | Denoiser,
        method: Callable[[Schedule], ScoreMethod],
        student_optimizer: OptimizerFactory,
        fake_optimizer: OptimizerFactory,
        batch_size: int = 256,
        accumulate: int = 1,
        updates_per_epoch: int = 50,
        fake_updates: int = 1,
        fake_by_count: bool = False,
        guidance: float = 1.0,
        ema: float = 0.99,
        warmup: int = 50,
        last_rate: float = 0.05,
        clip: float | None = 1.0,
        seed: int = 0,
        start: str | nn.Module | None = None,
    ):
        teacher = _denoiser(teacher)
        original = teacher if start is None else _denoiser(start)
        if not hasattr(original, "network"):
            raise InputError(f"{type(original).__name__} holds no network; name one by start")
        if getattr(teacher, "schedule", original.schedule) != original.schedule:
            raise InputError("teacher and start have different schedules; give both the same")
        _check_same(teacher, original)
        super().__init__(seed, ema, warmup, last_rate)
        self.batch_size = check_number("batch_size", batch_size, 1, 10**9, whole=True)
        self.accumulate = check_number("accumulate", accumulate, 1, whole=True)
        self.updates_per_epoch = check_number(
            "updates_per_epoch", updates_per_epoch, 1, 10**9, whole=True
        )
        self.fake_updates = check_number("fake_updates", fake_updates, 1, whole=True)
        self.clip = clip if clip is None else check_positive("clip", clip)
        if not isinstance(fake_by_count, bool):
            raise InputError(f"fake_by_count = {fake_by_count!r:.40}: must be true or false")
        self.automatic_optimization = False
        self.method = method(original.schedule)
        if isinstance(original.network, StepExperts):
            _check_grids(original.network, self.method)
        if guidance != 1 and self.method.aware("student")["guidance"]:
            raise InputError(f"guidance = {guidance:g}: the method draws its own, leave it at 1")
        fake = _by_count(original, self.method) if fake_by_count else original
        self.student, self.fake = (
            _trainable(denoiser.aware(**self.method.aware(name)))
            for name, denoiser in {"student": original, "fake": fake}.items()
        )
        self.average = average_of(self.student, ema)
        self.teacher = Guided(_Counted(teacher), guidance).requires_grad_(False).eval()
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
        parts = self.trainer.world_size * self.accumulate
        if self.batch_size % parts:
            raise InputError(
                f"batch_size = {self.batch_size} does not split into {parts} (processes times "
                "accumulate); take a multiple"
            )
        if parts > 1 and self.method.whole_batch:
            raise InputError(
                "the method, as with fake_target = stable, needs the whole batch at once, and gets "
                f"{parts} parts (processes times accumulate); set devices and accumulate to 1"
            )
        if self.trainer.max_steps != -1:
            raise InputError("max_steps counts steps of both networks; give max_epochs")
        if not isinstance(self.trainer.train_dataloader, range):
            raise InputError("score distillation takes no data: leave out data")
        if self.trainer.precision == "16-mixed":
            raise InputError("precision = 16-mixed: take bf16-mixed, whose gradients need no scale")
        if self.trainer.loggers:  # the student is written in the end
            check_saveable(self.student)
        if not getattr(self.trainer.strategy.model, "find_unused_parameters", True):
            raise InputError(
                "each loss moves one of two networks; set trainer.strategy to "
                "ddp_find_unused_parameters_true"
            )

    def training_step(self, batch: int, _):
        """One update: the student follows both scores, then the fake score learns its samples.

        In this order one rollout serves both, and its graph is gone when the fake score's is made.
        """
        student_optimizer, fake_optimizer = self.optimizers()
        generator, B, self.teacher.denoiser.asked = self.generator(), self.batch_size, 0
        size = B // self.trainer.world_size // self.accumulate
        first = self.global_rank * self.accumulate
        parts = [slice(n * size, (n + 1) * size) for n in range(first, first + self.accumulate)]
        cond = torch.randint(self.classes, (B,), generator=generator, device=self.device)
        start, rollouts = self.method.start(B, self.shape, generator), []

        def student_objective(rows, renoise):
            rollouts.append(self.method.rollout(self.student, start[rows], cond[rows]))
            return self.method.student_objective(
                self.teacher, self.fake, rollouts[-1], renoise[rows], cond[rows]
            )

        renoise = self.method.renoise(B, self.shape, generator)
        student_logs = self.descend(
            student_optimizer, "the student's loss",
            (student_objective(rows, renoise) for rows in parts),
        )  # fmt: skip
        self.average.update_parameters(self.student)
        for _ in range(self.fake_updates):
            renoise = self.method.renoise(B, self.shape, generator)
            fake_logs = self.descend(fake_optimizer, "the fake score's loss", (
                self.method.fake_objective(self.fake, known, renoise[rows], cond[rows])
                for known, rows in zip(rollouts, parts, strict=True)
            ))  # fmt: skip

        for rate in self.lr_schedulers():
            rate.step()
        self.update += 1
        every = self.trainer.log_every_n_steps
        if every and int(self.update) % every == 0:  # processes meet over it, so only if it is due
            parts = [a | b for a, b in zip(student_logs, fake_logs, strict=True)]
            logs = {key: torch.stack([p[key].mean() for p in parts]).mean() for key in parts[0]}
            self.log("student_loss", logs.pop("student_loss"), prog_bar=True, sync_dist=True)
            self.log_dict(logs | {"teacher_calls": self.calls}, sync_dist=True)

    def descend(self, optimizer, name: str, objectives: Iterable[tuple[Tensor, dict]]) -> list:
        """One update by the mean loss of the parts, each differentiated before the next is made.

        Returns the logs of the parts. Raises InputError for a loss that is not finite.
        """
        total, parts = 0.0, []
        for loss, logs in objectives:
            loss = loss.mean() / self.accumulate
            self.manual_backward(loss)
            total, parts = total + loss.detach(), [*parts, logs]
        self.watch(total, name)
        optimizer.step()
        optimizer.zero_grad()  # no gradient is held while the other network's graph is
        return parts

    @property
    def calls(self) -> float:
        """Teacher evaluations in the last update, for each of its samples."""
        return self.teacher.denoiser.asked / (self.batch_size // self.trainer.world_size)

    def on_train_end(self) -> None:
        way = dict(grids=[list(grid) for grid in self.method.grids], solver=self.method.solver)
        self.save_average("student", **way)
        if self.trainer.is_global_zero and self.trainer.loggers and self.calls:
            print(f"data read: none; teacher evaluations: {self.calls:g} a sample and update")


def _denoiser(given: str | Denoiser) -> Denoiser:
    return load_denoiser(find("data", given)) if isinstance(given, str) else given


def _check_same(teacher: Denoiser, start: nn.Module) -> None:
    """Raise InputError unless a teacher with a network takes the samples and labels of `start`."""
    known = getattr(teacher, "network", start.network)
    for name in ("shape", "classes"):
        ours = getattr(start.network, name)
        if (theirs := getattr(known, name, ours)) != ours:
            raise InputError(f"{name} of the teacher is {theirs}, of start {ours}; take the same")


def _check_grids(experts: StepExperts, method: ScoreMethod) -> None:
    """Raise InputError unless a method has these grids, and tells K where there are several."""
    grids = [list(grid) for grid in method.grids]
    if grids != experts.grids:
        raise InputError(f"the experts have grids {experts.grids}, the method {grids}")
    blind = [name for name in ("student", "fake") if not method.aware(name)["counts"]]
    if blind and len(grids) > 1:
        raise InputError(
            f"the {blind[0]} is not told K, by which experts of several grids are chosen; take "
            'steps_aware = "both"'
        )


def _trainable(denoiser: Denoiser) -> Denoiser:
    """It, of which the network alone learns (not a base), in evaluation mode: no dropout."""
    denoiser.requires_grad_(False).network.requires_grad_(True)
    return denoiser.eval()


def _by_count(denoiser: Denoiser, method: ScoreMethod) -> Denoiser:
    """A copy of it with a network for each K that the fake score is told."""
    if not method.aware("fake")["counts"]:
        raise InputError("fake_by_count: the fake score is told no K; give the method counts")
    twin = deepcopy(denoiser)
    twin.network = CountExperts(twin.network, method.counts)
    return twin


class _Counted(nn.Module):
    """A denoiser that knows how many samples it was `asked` for."""

    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.denoiser, self.asked = denoiser, 0

    def forward(self, z: Tensor, t, cond=None) -> Tensor:
        self.asked += len(z)
        return self.denoiser(z, t, cond)


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
