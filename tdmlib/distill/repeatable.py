"""Trainings that repeat: stopped and resumed, a run ends with the weights of one never stopped.

The random numbers of update n follow from (seed, n) alone, and a checkpoint knows n.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from tdmlib.errors import InputError, check_number
from tdmlib.models import save_denoiser
from tdmlib.models.weights import check_state

OptimizerFactory = Callable[[Iterable], Optimizer]


def keyed_generator(device, *key: int) -> torch.Generator:
    """A generator that follows from whole numbers alone, such as (seed, update).

    Zeros at the end of a key do not count: (3, 0) is the key (3,).
    """
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> 1))


def warm_cosine(warmup: int, total: int, last: float) -> Callable[[int], float]:
    """A factor on the learning rate: a cosine from 1 to `last`, times a linear rise to 1.

    The cosine takes all updates, the rise the first `warmup` of them.
    `total` ≥ 1 is the number of updates in all; the factor takes the number made so far.
    """

    def factor(update: int) -> float:
        decay = 0.5 * (1 + math.cos(math.pi * min(update / total, 1)))
        return min(1, (update + 1) / max(warmup, 1)) * (last + (1 - last) * decay)

    return factor


class WarmAverage(AveragedModel):
    """An exponential average of a network whose decay grows to `decay` as updates come in.

    Early on (1 + n)/(10 + n) is smaller, so that the start is forgotten in a short run too; the
    first update copies. Buffers are copied at each. Network and average are on one device.
    """

    def __init__(self, network: nn.Module, decay: float):
        super().__init__(network)
        self.requires_grad_(False)
        self.decay, self.tensors = decay, None

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move towards `model`."""
        if self.tensors is None or self.tensors[0] is not model:
            networks = self.module, model  # listed once: `AveragedModel` does so at every update
            lists = [[*n.parameters()] for n in networks], [[*n.buffers()] for n in networks]
            self.tensors = model, *lists
        n, (_, parameters, buffers) = int(self.n_averaged), self.tensors
        decay = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        torch._foreach_lerp_(*parameters, 1 - decay)
        if buffers[0]:
            torch._foreach_copy_(*buffers)
        self.n_averaged += 1

    def _apply(self, *args, **kwargs):
        self.tensors = None  # another device or type replaces buffers
        return super()._apply(*args, **kwargs)


class Unaveraged:
    """In the place of a `WarmAverage` of decay 0: the network itself, not a copy of it."""

    def __init__(self, network: nn.Module):
        self.module = network

    def update_parameters(self, model: nn.Module) -> None:
        """Nothing to do."""


def average_of(network: nn.Module, decay: float) -> WarmAverage | Unaveraged:
    """What `update_parameters` keeps as the average of a network."""
    return WarmAverage(network, decay) if decay else Unaveraged(network)


def check_optimizer(name: str, optimizer: OptimizerFactory) -> OptimizerFactory:
    """`optimizer`, once it has made one. Raises InputError if it refuses its settings."""
    try:
        optimizer([nn.Parameter(torch.zeros(1))]).step()  # some want a closure
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} refuses its settings: {error}") from None
    return optimizer


class RepeatableTraining(LightningModule):
    """Counts updates in the checkpoint, and refuses one of another architecture.

    Parameters
    ----------
    seed : of every random number.
    ema : decay of the averaged network, `self.average`, which is the one that is saved. 0 keeps no
        average, and saves the network as it is.
    warmup, last_rate : as in `warm_cosine`.

    Raises InputError for a number outside its range.
    """

    save = staticmethod(save_denoiser)
    clip: float | None = None  #: bound on the norm of a gradient

    def __init__(self, seed: int, ema: float, warmup: int, last_rate: float):
        super().__init__()
        self.seed = check_number("seed", seed, 0, whole=True)
        check_number("ema", ema, 0, 1)
        self.warmup = check_number("warmup", warmup, 0, whole=True)
        self.last_rate = check_number("last_rate", last_rate, 0, 1)
        self.register_buffer("update", torch.zeros((), dtype=torch.long))

    def generator(self) -> torch.Generator:
        """The random numbers of the present update."""
        return keyed_generator(self.device, self.seed, int(self.update))

    def rate(self, optimizer: Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
        """The warm cosine over the updates that the trainer is going to make.

        Raises InputError where their number is infinite.
        """
        total = self.trainer.estimated_stepping_batches
        if not math.isfinite(total):
            raise InputError("max_epochs = -1: the learning rate falls to an end; give max_epochs")
        factor = warm_cosine(self.warmup, int(total), self.last_rate)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        check_state(self, checkpoint["state_dict"], "checkpoint")

    def watch(self, loss: Tensor, name: str) -> Tensor:
        """The mean of `loss`, any shape. Raises InputError where it is not finite."""
        loss = loss.mean()
        self._check_finite(name, loss)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        # The same for a gradient, before it reaches the weights; one norm serves the bound as well.
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        self._check_finite("the gradient's norm", norm)
        if self.clip and norm > self.clip:
            nn.utils.clip_grads_with_norm_(parameters, self.clip, norm)

    def _check_finite(self, name: str, value: Tensor) -> None:
        if not math.isfinite(value.item()):
            raise InputError(
                f"{name} is {value.item()} at update {int(self.update)}; start anew with a lower "
                "learning rate (the last checkpoint is intact)"
            )

    def save_average(self, name: str, **notes) -> None:
        """Write the averaged network beside the logs; a trainer without a logger writes nothing."""
        folder = self.trainer.log_dir  # which processes settle together
        if self.trainer.is_global_zero and self.trainer.loggers:
            path = Path(folder) / f"{name}.safetensors"
            self.save(path, self.average.module, updates=int(self.update), **notes)
            averaged = "averaged " * isinstance(self.average, WarmAverage)
            print(f"wrote the {averaged}{name} to {path}")


class NetworkTraining(RepeatableTraining):
    """One network and one optimizer, in one process; the averaged network is saved in the end.

    Parameters
    ----------
    network : what is trained, as it is saved.
    name : of the file, and of the network in messages.
    optimizer : makes an optimizer from parameters.
    seed, ema, warmup, last_rate : as in `RepeatableTraining`.

    Raises InputError for a number outside its range, or when run in more than one process.
    """

    def __init__(
        self, network: nn.Module, name: str, optimizer: OptimizerFactory,
        seed: int, ema: float, warmup: int, last_rate: float,
    ):  # fmt: skip
        super().__init__(seed, ema, warmup, last_rate)
        self.network, self.name = network, name
        self.average = average_of(network, ema)
        self.optimizer = check_optimizer("optimizer", optimizer)

    def configure_optimizers(self):
        optimizer = self.optimizer(self.network.parameters())
        return [optimizer], [{"scheduler": self.rate(optimizer), "interval": "step"}]

    def on_train_start(self) -> None:
        if self.trainer.world_size != 1:
            raise InputError(f"a {self.name} is trained in one process; set trainer.devices to 1")

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        super().on_load_checkpoint(checkpoint)
        if not checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]:
            raise InputError(
                "the checkpoint was made within an epoch, and its data would begin anew; resume "
                "from one made at the end of an epoch"
            )

    def optimizer_step(self, *args, **kwargs) -> None:
        super().optimizer_step(*args, **kwargs)
        self.average.update_parameters(self.network)  # before a checkpoint of this update

    def on_train_end(self) -> None:
        self.save_average(self.name)
