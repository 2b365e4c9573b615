import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from tdmlib.errors import InputError
from tdmlib.mixtures import GaussianMixture


def mixture(d=2):
    rng = np.random.default_rng(0)
    roots = rng.standard_normal((3, d, d))
    covariances = roots @ roots.transpose(0, 2, 1) + 0.3 * np.eye(d)
    return GaussianMixture(np.array([1.0, 2.0, 3.0]), 2 * rng.standard_normal((3, d)), covariances)


@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 0.0), (0.6, 0.8), (0.0, 1.0)])
def test_density_is_scipys(alpha, sigma):
    m, z = mixture(), np.random.default_rng(1).standard_normal((5, 2))
    terms = [
        w * multivariate_normal(alpha * mu, alpha**2 * C + sigma**2 * np.eye(2)).pdf(z)
        for w, mu, C in zip(m.weights, m.means, m.covariances, strict=True)
    ]
    assert np.allclose(np.exp(m.log_density(z, alpha, sigma)), np.sum(terms, axis=0))


def test_weights_of_single_precision_can_be_drawn_from():
    means = torch.zeros(25, 2)
    x = GaussianMixture.round_modes(means, 0.01, torch.ones(25)).sample(10)
    assert x.shape == (10, 2) and x.dtype == torch.float32


@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 0.0), (0.6, 0.8)])
def test_score_is_the_gradient_and_tweedie_gives_the_posterior_mean(alpha, sigma):
    m, z, h = mixture(), np.random.default_rng(2).standard_normal((4, 2)), 1e-6
    gradient = np.stack(
        [
            (m.log_density(z + h * e, alpha, sigma) - m.log_density(z - h * e, alpha, sigma))
            / 2
            / h
            for e in np.eye(2)
        ],
        axis=-1,
    )
    score = m.score(z, alpha, sigma)
    assert np.allclose(score, gradient, atol=1e-7)
    assert np.allclose(m.posterior_mean(z, alpha, sigma), (z + sigma**2 * score) / alpha)


def test_the_posterior_covariance_is_within_and_between_and_the_slope_of_the_mean():
    m, h, alpha, sigma = mixture(), 1e-6, 0.6, 0.8
    z = np.random.default_rng(5).standard_normal((4, 2))
    C, h_ = m.posterior_covariance(z, alpha, sigma), h * np.eye(2)
    slope = [
        (m.posterior_mean(z + e, alpha, sigma) - m.posterior_mean(z - e, alpha, sigma)) / 2 / h
        for e in h_
    ]
    assert np.allclose(alpha / sigma**2 * C, np.stack(slope, axis=-1), atol=1e-7)
    x = m.sample(400_000, seed=6)  # weighted by p(z | x) they are samples of x given z
    weights = np.exp(-0.5 * np.square(z[:1] - alpha * x).sum(1) / sigma**2)
    assert np.allclose(C[0], np.cov(x.T, aweights=weights), rtol=0.05, atol=0.01)


def test_torch_agrees_with_numpy_and_levels_may_differ_by_row():
    m, z = mixture(), np.random.default_rng(3).standard_normal((3, 2))
    alpha, sigma = np.array([[0.9], [0.6], [0.0]]), np.sqrt([[0.19], [0.64], [1.0]])
    t = GaussianMixture(*map(torch.from_numpy, (m.weights, m.means, m.covariances)))
    assert np.allclose(t.numpy().log_density(z), m.log_density(z), rtol=1e-12)
    for name in ("log_density", "score", "posterior_mean", "posterior_covariance"):
        ours = getattr(m, name)(z, alpha, sigma)
        theirs = getattr(t, name)(*map(torch.from_numpy, (z, alpha, sigma)))
        assert np.allclose(ours, theirs.numpy())
        rows = [getattr(m, name)(z[k : k + 1], alpha[k], sigma[k])[0] for k in range(3)]
        assert np.allclose(ours, rows)


def test_round_modes_are_the_components_that_they_say():
    means, variance, weights = np.array([[1.0, -2.0], [0.5, 0.3]]), 0.7, np.array([1.0, 3.0])
    z = np.random.default_rng(7).standard_normal((5, 2))
    for given, w in ((None, np.full(2, 0.5)), (weights, weights / 4)):
        modes = GaussianMixture.round_modes(means, variance, given)
        parts = [multivariate_normal(mean, variance).pdf(z) for mean in means]
        assert np.allclose(np.exp(modes.log_density(z)), w @ parts)
    torch_modes = GaussianMixture.round_modes(torch.from_numpy(means), variance)
    assert isinstance(torch_modes.sample(1), torch.Tensor)
    for bad in (0, -1.0, np.nan, "1"):
        with pytest.raises(InputError, match="varianc"):
            GaussianMixture.round_modes(means, bad)
    with pytest.raises(InputError, match="disagree"):
        GaussianMixture.round_modes(means[0], 1.0)


def test_samples_have_the_moments():
    m = mixture()
    x = m.sample(200_000, seed=4)
    mean, covariance = m.moments()
    assert np.allclose(x.mean(0), mean, atol=0.03)
    assert np.allclose(np.cov(x.T), covariance, rtol=0.02, atol=0.05)
    assert np.array_equal(x[:5], m.sample(200_000, seed=4)[:5])


@pytest.mark.parametrize(
    ("weights", "shape", "says"),
    [([1.0, 0.0], (2, 2, 2), "positive"), ([1.0], (2, 2, 2), "disagree"),
     ([1.0, 1.0], (2, 3, 3), "disagree")],
)  # fmt: skip
def test_bad_mixtures_are_refused(weights, shape, says):
    covariance = np.broadcast_to(np.eye(shape[-1]), shape)
    with pytest.raises(InputError, match=says):
        GaussianMixture(np.array(weights), np.zeros((2, 2)), covariance)
    with pytest.raises(InputError, match="symmetric"):
        GaussianMixture(np.ones(1), np.zeros((1, 2)), np.array([[[1.0, 0.5], [0.0, 1.0]]]))
    for number in (np.nan, np.inf):
        with pytest.raises(InputError, match="finite"):
            GaussianMixture(np.ones(1), np.full((1, 2), number), np.eye(2)[None])
        with pytest.raises(InputError, match="finite"):
            GaussianMixture(np.full(1, number), np.zeros((1, 2)), np.eye(2)[None])
    with pytest.raises(InputError, match="disagree"):
        GaussianMixture(np.ones(2), np.zeros(2), np.ones((2, 1, 1)))
    with pytest.raises(InputError, match="floating"):
        GaussianMixture(np.ones(1), np.zeros((1, 2), dtype=int), np.eye(2)[None])
    with pytest.raises(InputError, match="positive definite"):
        GaussianMixture(np.ones(2), np.zeros((2, 2)), -np.broadcast_to(np.eye(2), (2, 2, 2)))


def test_each_covariance_is_symmetric_by_its_own_measure():
    tilted = np.array([[1.0, 0.5], [0.499, 1.0]])
    for scale in (1.0, 1e-6):
        pair = np.stack([1e3 * np.eye(2), scale * tilted])
        with pytest.raises(InputError, match="symmetric"):
            GaussianMixture(np.ones(2), np.zeros((2, 2)), pair)


@pytest.mark.parametrize("z", [np.ones((2, 2), dtype=int), np.ones(2), np.ones((2, 3)),
                               torch.ones(2, 2).long(), torch.ones(2, 1)])  # fmt: skip
def test_points_are_floating_and_of_shape_b_d(z):
    m = mixture()
    if isinstance(z, torch.Tensor):
        m = GaussianMixture(*map(torch.from_numpy, (m.weights, m.means, m.covariances)))
    for f in (
        m.log_density, m.responsibilities, m.score, m.posterior_mean, m.component_means,
        m.posterior_covariance,
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"expected \(B, 2\) and a floating type"):
            f(z, 0.6, 0.8)


def test_far_points_have_a_density():
    assert np.isfinite(mixture().log_density(np.array([[300.0, -200.0]]))).all()


@pytest.mark.parametrize("n", [-1, 2.5, "3", None])
def test_bad_numbers_of_samples_are_refused(n):
    with pytest.raises(InputError, match="n = "):
        mixture().sample(n)


@pytest.mark.parametrize("seed", [-1, 2.5, "3", None])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(InputError, match=r"seed = .* must be a whole number ≥ 0"):
        mixture().sample(3, seed)
