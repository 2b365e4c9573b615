import numpy as np
import pytest
import torch

from tdmlib.datasets.digits import Digits, digits
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
        (torch.zeros(49, 64), "n ≥ 50"),
        (torch.full((60, 64), -11.0), "samples reach 11"),
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


@pytest.mark.parametrize("labels", [torch.zeros(60, 1), torch.zeros(59), torch.zeros(1, 60)])
def test_labels_are_one_for_each_image(labels):
    with pytest.raises(InputError, match=r"labels have shape .*, expected \(60,\)"):
        digits_report(torch.zeros(60, 1, 8, 8), labels.long())


def test_labels_may_be_a_list_or_an_array():
    images, labels = digits()[0].images[:60], (torch.arange(60) // 6).tolist()
    report = digits_report(images, labels)
    assert report == digits_report(images.numpy(), np.array(labels))
    assert report["class_variance"] == pytest.approx(class_variance(images, torch.tensor(labels)))


def test_training_images_are_closer_to_themselves():
    """A share of 397/1400 is in the thinned set; of the rest about one half is closer to it."""
    assert digits_floor()["closer_to_training"] == pytest.approx(0.64, abs=0.05)


def test_features_of_many_images_are_those_of_each():
    images = digits()[0].images[torch.arange(4100) % 1400]
    features, read = features_and_classes(images)
    last, last_read = features_and_classes(images[-10:])
    assert features.shape == (4100, 48) and torch.equal(read[-10:], last_read)
    assert torch.allclose(features[-10:], last, atol=1e-5)


def orders(data, epochs=2):
    """Labels in the order in which each epoch of training meets them."""
    loader = data.train_dataloader()
    found = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        found.append(torch.cat([labels for _, labels in loader]).tolist())
    return found


def test_the_order_of_training_follows_from_seed_and_epoch():
    first, second = orders(Digits())
    inner = digits()[0].labels.tolist()
    assert first != second and sorted(first) == sorted(inner)
    assert inner not in (first, second)
    assert orders(Digits(seed=0)) == [first, second]
    assert orders(Digits(seed=1))[0] != first
    tested = torch.cat([labels for _, labels in Digits().val_dataloader()])
    assert torch.equal(tested, digits()[1].labels)
