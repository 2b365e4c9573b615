"""All metrics of a set of generated digits against the real ones, in one call."""

import numpy as np
import torch
from torch import Tensor

from tdmlib.datasets.digits import CLASSES, SHAPE, Split, digits
from tdmlib.errors import InputError
from tdmlib.metrics.classifier import features_and_classes
from tdmlib.metrics.frechet import frechet_distance
from tdmlib.metrics.inputs import classes_of, real
from tdmlib.metrics.kid import kernel_distance
from tdmlib.metrics.manifold import precision_recall
from tdmlib.metrics.neighbours import closer_to_training
from tdmlib.metrics.swd import sliced_wasserstein

__all__ = ["class_variance", "digits_floor", "digits_report"]


def check_images(images) -> Tensor:
    """Images as float32 (n, 1, 8, 8), n ≥ 50; flat rows of 64 are reshaped.

    Raises InputError for other shapes, what is not real and finite, or pixels beyond ±10, which are
    on another scale.
    """
    images = torch.tensor(real("samples", images))
    if images.ndim == 2 and images.shape[1] == 64:
        images = images.reshape(-1, *SHAPE)
    if images.ndim != 4 or tuple(images.shape[1:]) != SHAPE or len(images) < 50:
        raise InputError(
            f"samples have shape {tuple(images.shape)}; expected (n, 1, 8, 8) or (n, 64), n ≥ 50"
        )
    if (top := float(images.abs().max())) > 10:
        raise InputError(f"samples reach {top:g}; digits lie in [-1, 1], so scale them to it")
    return images.float()


def class_variance(images: Tensor, labels: Tensor) -> float:
    """Variance of a pixel about the mean of its class, over pixels and classes.

    Raises InputError for images that are not real and finite, labels of another length, or a class
    of one image.
    """
    images = torch.tensor(real("images", images))
    labels = classes_of(images, labels, least=2)
    classes = [images[torch.from_numpy(labels == c)] for c in np.unique(labels)]
    return float(torch.stack([x.var(0).mean() for x in classes]).mean())


def digits_report(images, labels: Tensor | None = None) -> dict[str, float]:
    """Distances to the 397 test and to all 1,797 digits, and what else we measure.

    Precision and recall are those against the test digits, from 397 images on.
    `images` (n, 1, 8, 8) in [−1, 1]; with `labels` (n,), a fixed number of each class, also the
    share that the classifier reads as asked and the variance within classes.
    Raises InputError for fewer than 50 images, other shapes, NaN or pixels beyond ±10, for labels
    of another shape or beyond 0 … 9, and for a class of one image.
    """
    images = check_images(images)
    if labels is not None:
        labels = classes_of(images, labels)
        if not np.isin(labels, np.arange(CLASSES)).all():
            raise InputError(f"labels must be whole numbers within 0 … {CLASSES - 1}")
        labels = torch.from_numpy(labels.astype(int))
    train, test = digits()
    every = Split(*map(torch.cat, zip(train, test, strict=True)))
    ours, read = features_and_classes(images)
    report, features = {}, {}
    for name, split in (("test", test), ("all", every)):
        reference = features[name] = features_and_classes(split.images)[0]
        report[f"frechet_{name}"] = frechet_distance(ours, reference)
        report[f"kid_{name}"] = kernel_distance(ours, reference, labels, split.labels)
    if len(ours) >= len(test.images):
        report["precision"], report["recall"] = precision_recall(ours, features["test"])
    report["sliced_wasserstein"] = sliced_wasserstein(images, every.images)
    if labels is not None:
        report["class_agreement"] = float((read == labels).float().mean())
        report["class_variance"] = class_variance(images, labels)
    report["closer_to_training"] = closer_to_training(images[:5000], train.images, test.images)
    return report


def digits_floor() -> dict[str, float]:
    """The same report for real against real: what the training images score."""
    train, _ = digits()
    return digits_report(train.images, train.labels)
