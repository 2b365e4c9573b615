import pytest
import torch

from tdmlib.datasets.digits import digits
from tdmlib.errors import InputError
from tdmlib.metrics.classifier import features_and_classes
from tdmlib.metrics.report import check_images, class_variance, digits_floor, digits_report


def test_the_split_is_fixed_stratified_and_disjoint():
    train, test = digits()
    assert train.images.shape == (1400, 1, 8, 8) and test.images.shape == (397, 1, 8, 8)
    assert train.images.min() == -1 and train.images.max() == 1
    share = train.labels.bincount() / 1400 - test.labels.bincount() / 397
    assert share.abs().max() < 0.002
    # scikit-learn's set holds a few exact duplicates; no more than those may cross the split
    assert (
        torch.cdist(test.images.flatten(1), train.images.flatten(1)).min(1).values == 0
    ).sum() <= 1


def test_the_classifier_reads_test_digits():
    _, test = digits()
    features, read = features_and_classes(test.images)
    assert features.shape == (397, 48)
    assert (read == test.labels).float().mean() > 0.975


def test_the_report_orders_real_noisy_and_noise():
    train, _ = digits()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(train.images.shape, generator=generator)
    real = digits_floor()
    noisy = digits_report(train.images + 0.3 * noise, train.labels)
    nothing = digits_report(noise, train.labels)
    for name in ("frechet_test", "frechet_all", "kid_test", "kid_all", "sliced_wasserstein"):
        assert real[name] < noisy[name] < nothing[name], name
    assert real["class_agreement"] > noisy["class_agreement"] > nothing["class_agreement"]


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.zeros(60, 1, 8, 9), r"\(60, 1, 8, 9\)"),
        (torch.zeros(10, 64), "n ≥ 50"),
        (torch.full((60, 64), float("nan")), "3840 NaN"),
    ],
)
def test_bad_images_are_refused(images, says):
    with pytest.raises(InputError, match=says):
        check_images(images)


def test_the_variance_within_classes_is_that_of_what_is_added_to_class_means():
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(6000) % 3
    means = torch.randn(3, 1, 8, 8, generator=generator)
    images = means[labels] + 0.5 * torch.randn(6000, 1, 8, 8, generator=generator)
    assert class_variance(images, labels) == pytest.approx(0.25, rel=0.01)


def test_flat_rows_are_images():
    assert check_images(torch.zeros(50, 64).double()).shape == (50, 1, 8, 8)
