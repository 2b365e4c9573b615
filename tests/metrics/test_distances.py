from itertools import product

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from tdmlib.errors import InputError
from tdmlib.metrics.bootstrap import frechet_gap, interval, kernel_gap, resampled_rows
from tdmlib.metrics.frechet import frechet_distance
from tdmlib.metrics.kid import kernel_distance, within
from tdmlib.metrics.manifold import precision_recall
from tdmlib.metrics.neighbours import closer_to_training, nearest
from tdmlib.metrics.swd import sliced_wasserstein


def clouds(seed=0, n=300, m=200, d=5):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((d, d))
    return rng.standard_normal((n, d)) @ root, rng.standard_normal((m, d)) + 0.3


def test_frechet_equals_the_textbook_formula():
    x, y = clouds()
    C, D = np.cov(x.T), np.cov(y.T)
    textbook = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(C + D - 2 * sqrtm(C @ D).real)
    assert np.isclose(frechet_distance(x, y), textbook)
    assert np.isclose(frechet_distance(y, x), textbook)
    assert abs(frechet_distance(x, x)) < 1e-9
    assert np.isclose(frechet_distance(x, x + 2.0), 4 * x.shape[1])


def test_frechet_survives_dead_features():
    x, y = clouds()
    dead = np.zeros((len(x), 1)), np.zeros((len(y), 1))
    wide = frechet_distance(np.hstack([x, dead[0]]), np.hstack([y, dead[1]]))
    assert np.isclose(wide, frechet_distance(x, y))


def brute_force_mmd(x, y):
    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    xx = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    yy = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    return xx + yy - 2 * np.mean([k(a, b) for a in x for b in y])


@pytest.mark.parametrize("wide", [0, 128])
def test_kernel_distance_equals_brute_force_and_torchmetrics(monkeypatch, wide):
    monkeypatch.setattr("tdmlib.metrics.kid.WIDE", wide)
    x, y = clouds(n=40, m=30)
    assert np.isclose(kernel_distance(x, y), brute_force_mmd(x, y))
    from torchmetrics.image.kid import poly_mmd

    same = torch.from_numpy(x[:30]), torch.from_numpy(y)
    assert np.isclose(kernel_distance(*same), float(poly_mmd(*same)))


def test_kernel_distance_is_unbiased_where_frechet_is_not():
    rng = np.random.default_rng(1)
    pairs = [rng.standard_normal((2, 30, 4)) for _ in range(400)]
    kid = np.array([kernel_distance(a, b) for a, b in pairs])
    assert abs(kid.mean()) < 3 * kid.std() / 20
    assert np.mean([frechet_distance(a, b) for a, b in pairs]) > 0.3


def test_with_fixed_class_counts_each_pair_of_classes_counts_by_its_share():
    rng = np.random.default_rng(6)
    x, labels = labelled(rng, (4, 3))
    kernel = (x @ x.T / x.shape[1] + 1) ** 3
    expected = 0
    for c, d in product((0, 1), repeat=2):
        pairs = [
            kernel[i, j]
            for i, j in product(range(7), repeat=2)
            if i != j and (labels[i], labels[j]) == (c, d)
        ]
        expected += np.mean(labels == c) * np.mean(labels == d) * np.mean(pairs)
    assert np.isclose(within(x, labels), expected)


def test_the_kernel_distance_of_stratified_sets_is_unbiased_given_their_labels():
    rng = np.random.default_rng(7)
    pairs = [(labelled(rng, (12, 8)), labelled(rng, (9, 6))) for _ in range(400)]
    known = np.array([kernel_distance(x, y, a, b) for (x, a), (y, b) in pairs])
    unknown = np.array([kernel_distance(x, y) for (x, _), (y, _) in pairs])
    assert abs(known.mean()) < 3 * known.std() / 20
    assert unknown.mean() < -10 * unknown.std() / 20


@pytest.mark.parametrize(
    ("labels", "says"), [([0, 0, 1], "class 1 has one sample"), ([0, 0], r"shape \(2,\)")]
)
def test_labels_that_do_not_fit_are_refused(labels, says):
    with pytest.raises(InputError, match=says):
        within(np.ones((3, 2)), labels)


def labelled(rng, counts, d=3):
    """Two classes far apart, `counts` of each."""
    labels = np.repeat([0, 1], counts)
    return rng.standard_normal((len(labels), d)) + 2.0 * labels[:, None], labels


def test_resampling_keeps_class_counts():
    labels, rng = np.array([0, 1, 1, 2, 2, 2]), np.random.default_rng(0)
    draws = np.array([resampled_rows(labels, rng) for _ in range(300)])
    assert all((np.bincount(labels[rows]) == [1, 2, 3]).all() for rows in draws)
    assert set(draws[:, 1:].ravel()) == {1, 2, 3, 4, 5}
    assert len({tuple(rows) for rows in draws}) > 20


@pytest.mark.parametrize(
    ("gap", "distance"), [(frechet_gap, frechet_distance), (kernel_gap, kernel_distance)]
)
def test_bootstrap_gaps_cover_the_difference_they_estimate(gap, distance):
    rng = np.random.default_rng(2)
    real, labels = labelled(rng, (80, 70))
    near, far = labelled(rng, (1000, 1000))[0] + 0.1, labelled(rng, (1000, 1000))[0] + 0.8
    low, high = interval(gap(near, far, real, labels, resamples=200))
    assert low < distance(near, real) - distance(far, real) < high < 0
    same = interval(gap(near, near + 0, real, labels, resamples=200))
    assert same[0] <= 0 <= same[1]


def test_kernel_gap_has_the_spread_of_fresh_data():
    rng = np.random.default_rng(3)
    a, b = labelled(rng, (1000, 1000))[0], labelled(rng, (1000, 1000))[0] + 0.5
    fresh = []
    for _ in range(200):
        real, labels = labelled(rng, (200, 200))
        fresh.append(kernel_distance(a, real) - kernel_distance(b, real))
    assert np.isclose(np.std(fresh), np.std(kernel_gap(a, b, real, labels)), rtol=0.35)


def test_sliced_wasserstein_of_a_shift():
    x = np.random.default_rng(4).standard_normal((500, 3))
    shift = np.array([3.0, 0, 0])  # a random direction sees u₁ · 3, and E u₁² = 1/3
    assert np.isclose(sliced_wasserstein(x + shift, x, projections=2000), 3**0.5, rtol=0.04)
    assert sliced_wasserstein(x, x) == 0


def test_neighbours_find_copies():
    rng = np.random.default_rng(5)
    train, test, fresh = (torch.from_numpy(rng.standard_normal((n, 4))) for n in (600, 200, 400))
    assert closer_to_training(train, train, test) > 0.6  # a third are copies of the thinned set
    assert abs(closer_to_training(fresh, train, test) - 0.5) < 0.08
    brute = [min(np.linalg.norm(a - b) for b in test) for a in fresh]
    assert np.allclose(nearest(fresh, test), brute)


def test_interval_is_central():
    assert interval(np.arange(1001)) == pytest.approx((25, 975))


def test_frechet_of_one_feature():
    x, y = clouds(d=1)
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert np.isclose(frechet_distance(x, y), expected)


@pytest.mark.parametrize(
    ("features", "says"),
    [(np.full((5, 2), np.nan), "NaN"), (np.full((5, 2), np.inf), "infinite"),
     (np.ones((1, 2)), r"shape \(1, 2\); expected \(n, d\), n ≥ 2"), (np.ones(5), r"shape \(5,\)"),
     (np.ones((5, 3)), "columns"), (np.ones((5, 1)), "columns")],
)  # fmt: skip
def test_features_without_a_gaussian_fit_are_refused(features, says):
    other = np.random.default_rng(0).standard_normal((9, 2))
    for pair in ((features, other), (other, features)):
        with pytest.raises(InputError, match=says):
            frechet_distance(*pair)


@pytest.mark.parametrize("gap", [frechet_gap, kernel_gap])
@pytest.mark.parametrize("n", [29, 31])
def test_gaps_want_one_label_for_each_row_of_the_reference(gap, n):
    x, y = clouds(n=40, m=30)
    with pytest.raises(InputError, match=r"expected \(30,\)"):
        gap(x, x, y, np.arange(n) % 2, resamples=2)


def test_sorting_gives_the_sliced_distance_of_pot():
    x, y = clouds(n=300, m=300)
    fewer = np.concatenate([y, y])  # the same law as another number of samples
    assert np.isclose(sliced_wasserstein(x, y, 32), sliced_wasserstein(x, fewer, 32))


def brute_force_coverage(x, y, k):
    """Share of rows of x that lie within the ball of some row of y up to its k-th neighbour."""
    radius = [sorted(np.linalg.norm(b - y, axis=1))[k] for b in y]
    inside = [any(np.linalg.norm(a - b) <= r for b, r in zip(y, radius, strict=True)) for a in x]
    return np.mean(inside)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_shares_within_balls(k):
    x, y = clouds(n=65, m=30)
    parts = x[:30], x[30:60]
    expected = [
        np.mean([brute_force_coverage(part, y, k) for part in parts]),
        np.mean([brute_force_coverage(y, part, k) for part in parts]),
    ]
    assert 0.05 < min(expected) < 0.95
    assert np.allclose(precision_recall(x, y, k), expected)


def test_precision_sees_strangers_and_recall_what_is_missing():
    rng = np.random.default_rng(2)
    real = rng.standard_normal((400, 3))
    narrow, wide = (scale * rng.standard_normal((800, 3)) for scale in (0.3, 3.0))
    assert precision_recall(real, real) == (1, 1)
    precision, recall = precision_recall(narrow, real)
    assert precision > 0.99 and recall < 0.4
    precision, recall = precision_recall(wide, real)
    assert precision < 0.5 and recall > 0.8


@pytest.mark.parametrize(("n", "m"), [(20, 40), (20, 3)])
def test_precision_and_recall_want_enough_samples(n, m):
    with pytest.raises(InputError, match="n ≥ m > k = 3"):
        precision_recall(np.zeros((n, 5)), np.zeros((m, 5)))
