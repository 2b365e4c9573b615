"""What is no set of finite real samples, or no setting, is refused in one line by every metric."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from tdmlib.datasets.digits import digits
from tdmlib.errors import InputError
from tdmlib.metrics.bootstrap import frechet_gap, interval, kernel_gap
from tdmlib.metrics.classifier import features_and_classes
from tdmlib.metrics.frechet import frechet_distance
from tdmlib.metrics.kid import kernel_distance, within
from tdmlib.metrics.manifold import precision_recall
from tdmlib.metrics.modes import mode_recovery
from tdmlib.metrics.neighbours import closer_to_training, nearest
from tdmlib.metrics.quasi import quasi_noise, quasi_sample
from tdmlib.metrics.report import class_variance, digits_report
from tdmlib.metrics.swd import sliced_wasserstein
from tdmlib.nonlinear import planar_mixtures

CIRCLE = planar_mixtures()["circle"]
LABELS = np.arange(20) % 2


def rows(n: int = 20, d: int = 2) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, d))


def spoilt(value, kind=float) -> np.ndarray:
    x = rows().astype(kind)
    x[3, 1] = value
    return x


SETS: dict[str, Callable] = {
    "frechet_distance": frechet_distance,
    "kernel_distance": kernel_distance,
    "precision_recall": precision_recall,
    "nearest": nearest,
    "sliced_wasserstein": sliced_wasserstein,
    "closer_to_training": lambda x, y: closer_to_training(x, y, rows(10)),
    "training": lambda x, y: closer_to_training(y, x, rows(10)),
    "frechet_gap": lambda x, y: frechet_gap(x, rows(), y, LABELS, resamples=2),
    "kernel_gap": lambda x, y: kernel_gap(rows(), x, y, LABELS, resamples=2),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    ("x", "says"),
    [(spoilt(np.nan), "1 NaN or infinite"), (spoilt(-np.inf), "1 NaN or infinite"),
     (spoilt(1j, complex), "type complex128"), (rows() > 0, "type bool"), (None, "type object"),
     ("x", "type <U1"), ([[1.0, 2.0], [3.0]], "one array"), (np.zeros((0, 2)), "empty"),
     (rows(20, 3), "columns cannot be compared"), (1.0, "have shape"),
     (spoilt(1e200), r"reach 1e\+200")],
)  # fmt: skip
def test_sets_that_cannot_be_compared_are_refused(name, x, says):
    with pytest.raises(InputError, match=says) as caught:
        SETS[name](x, rows())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SETS)
def test_lists_and_tensors_of_any_kind_are_sets(name):
    x = rows().round(2)
    tensor = torch.tensor(x, requires_grad=True)
    expected = SETS[name](x, rows())
    for same in (x.tolist(), tensor, x[::-1][::-1], x.astype(">f8")):
        assert np.all(SETS[name](same, rows()) == expected)
    assert np.all(np.isfinite(SETS[name](tensor.bfloat16(), rows())))


@pytest.mark.parametrize("name", ["frechet_distance", "kernel_distance", "frechet_gap"])
def test_one_row_has_no_spread(name):
    with pytest.raises(InputError, match=r"shape \(1, 2\); expected \(n, d\), n ≥ 2"):
        SETS[name](rows(1), rows())


gap = partial(frechet_gap, rows(), rows(), rows())
kernel = partial(kernel_gap, rows(), rows(), rows())
lot = partial(sliced_wasserstein, rows(), rows())
modes = partial(mode_recovery, mixture=CIRCLE)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: precision_recall(rows(), rows(), 2.5), "k = 2.5: must be a whole number ≥ 1"),
        (lambda: nearest(rows(20, 1)[:, 0], rows()), "columns"),
        (lambda: closer_to_training(rows(), rows(5), rows(6)), "5 training images are fewer"),
        (lambda: closer_to_training(rows(), rows(), rows(5), -1), "seed = -1"),
        (lambda: lot(0), "projections = 0"),
        (lambda: lot(-1), "projections = -1"),
        (lambda: lot(8, 2**32), "seed = 4294967296"),
        (lambda: interval([]), "values of shape .* are empty"),
        (lambda: interval([1.0, np.nan]), "1 NaN"),
        (lambda: interval([1.0, 2.0], 2), "level = 2: must lie between 0 and 1"),
        (lambda: interval([1.0, 2.0], -1), "level = -1"),
        (lambda: interval([1.0, 2.0], "x"), "level = 'x'"),
        (lambda: gap(LABELS, 0), "resamples = 0: must be a whole number ≥ 1"),
        (lambda: kernel(LABELS, -1), "resamples = -1"),
        (lambda: gap(LABELS, 2, -1), "seed = -1"),
        (lambda: gap(np.where(LABELS, np.nan, 0)), "labels must be numbers or strings"),
        (lambda: kernel([None] * 20), "labels must be numbers or strings"),
        (lambda: within(1.0), r"shape \(\)"),
        (lambda: modes(spoilt(np.nan)), "1 NaN"),
        (lambda: modes(spoilt(1j, complex)), "type complex128"),
        (lambda: modes(rows(20, 3)), "z has shape"),
        (lambda: modes(rows(), radius=-1), "radius = -1"),
        (lambda: modes(rows(), radius=np.inf), "radius = inf"),
        (lambda: quasi_noise(4, -1), "d = -1"),
        (lambda: quasi_noise(4, 30000), "d = 30000: .* within 1 … 21201"),
        (lambda: quasi_noise(4, 2.5), "d = 2.5"),
        (lambda: quasi_sample(CIRCLE, 2**31), "n = 2147483648"),
        (lambda: class_variance(rows(), LABELS[:5]), r"labels have shape \(5,\)"),
        (lambda: class_variance(rows(), [0] * 19 + [1]), "class 1 has one sample"),
        (lambda: class_variance(spoilt(np.nan), LABELS), "1 NaN"),
        (lambda: features_and_classes(rows()), r"expected \(20, 1, 8, 8\)"),
        (lambda: features_and_classes(None), "type object"),
    ],
)
def test_settings_samples_and_labels_that_do_not_fit_are_refused(call, says):
    with pytest.raises(InputError, match=says):
        call()


def test_whole_floats_lists_and_tensors_are_taken():
    assert precision_recall(rows(), rows(), 2.0) == precision_recall(rows(), rows(), 2)
    assert torch.equal(quasi_noise(4, 2.0), quasi_noise(4, 2))
    assert class_variance(rows().tolist(), [*"ab"] * 10) == class_variance(rows(), LABELS)
    assert modes(rows().tolist()) == modes(rows())


@pytest.mark.parametrize(
    ("images", "says"),
    [(None, "type object"), ("x", "type <U1"), (np.ones((60, 64), bool), "type bool"),
     (np.ones((60, 64), complex), "type complex128")],
)  # fmt: skip
def test_reports_want_images(images, says):
    with pytest.raises(InputError, match=f"samples are of {says}"):
        digits_report(images)


@pytest.mark.parametrize("label", [77, -1, 0.5, "a"])
def test_reports_want_digits_for_labels(label):
    labels = [label] * 30 + [1] * 30 if label != "a" else ["a"] * 60
    with pytest.raises(InputError, match="labels must be whole numbers within 0 … 9"):
        digits_report(digits()[0].images[:60], labels)


def test_reports_take_images_that_require_a_gradient():
    images = digits()[0].images[:60]
    assert digits_report(images.clone().requires_grad_()) == digits_report(images)
