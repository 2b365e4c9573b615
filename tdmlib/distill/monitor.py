"""Watch a digit student while it trains; the training itself sees no data."""

import torch
from lightning.pytorch import Callback

from tdmlib.datasets.digits import CLASSES, digits
from tdmlib.errors import check_number
from tdmlib.metrics.classifier import features_and_classes
from tdmlib.metrics.frechet import frechet_distance


class DigitsMonitor(Callback):
    """Log the averaged student's Fréchet distance to all digits, for each K that it learns.

    A student that learns guidance is sampled at the lowest.

    Parameters
    ----------
    every : epochs between measurements.
    count : samples a measurement, the same noise each time; 50 or more.

    Raises InputError for numbers that are not whole or too small.
    """

    def __init__(self, every: int = 2, count: int = 2000):
        self.every = check_number("every", every, 1, whole=True)
        self.count = check_number("count", count, 50, whole=True)
        train, test = digits()
        self.reference = features_and_classes(torch.cat([train.images, test.images]))[0]

    def measure(self, module, steps: int | None = None) -> float:
        """The distance at K = `steps`; None is the most that the student learns.

        Raises InputError for a K that it does not learn.
        """
        student, method = module.average.module, module.method
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(self.count, *module.shape, generator=generator).to(module.device)
        cond = torch.arange(self.count, device=module.device) % CLASSES
        guidance = method.guidance and method.guidance[0]
        images = method.sample(student, noise, cond, steps, guidance)
        return frechet_distance(features_and_classes(images.cpu())[0], self.reference)

    def on_train_epoch_end(self, trainer, module):
        if (trainer.current_epoch + 1) % self.every == 0 and trainer.is_global_zero:
            for steps in module.method.counts or (None,):
                name = "frechet" if steps is None else f"frechet_{steps}"
                last = steps in (None, module.method.counts and module.method.counts[-1])
                value = self.measure(module, steps)
                module.log(name, value, prog_bar=last, rank_zero_only=True)
