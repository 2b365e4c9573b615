import numpy as np
import pytest
import torch
from scipy.stats import chi2

from tdmlib.errors import InputError
from tdmlib.metrics.modes import mode_recovery
from tdmlib.metrics.quasi import quasi_noise, quasi_sample
from tdmlib.metrics.swd import sliced_wasserstein
from tdmlib.mixtures import GaussianMixture
from tdmlib.nonlinear import planar_mixtures, random_mixture

MIXTURES = planar_mixtures()


@pytest.mark.parametrize("name", ["circle", "grid"])
def test_true_samples_find_every_mode_in_its_share_and_at_its_width(name):
    mixture = MIXTURES[name]
    found = mode_recovery(quasi_sample(mixture, 2**14), mixture, radius=2.0)
    assert found["found"] == len(mixture.weights) and found["off"] < 2e-3
    assert found["near"] == pytest.approx(chi2(2).cdf(4), abs=0.01)
    assert found["width"] == pytest.approx(1, abs=0.01)


def test_lost_moved_and_narrowed_modes_are_told():
    mixture = MIXTURES["circle"]
    x = quasi_sample(mixture, 2**14)
    owner = mixture.responsibilities(x).argmax(1)
    kept = mode_recovery(x[owner > 0], mixture)
    assert kept["found"] == 7 and kept["off"] == pytest.approx(1 / 8, abs=1e-3)
    narrow = mixture.means[owner] + 0.5 * (x - mixture.means[owner])
    assert mode_recovery(narrow, mixture)["width"] == pytest.approx(0.25, rel=0.1)
    far = mode_recovery(100 * x, mixture)
    assert far["found"] == far["near"] == 0 and np.isnan(far["width"])


def test_other_dimensions_are_refused():
    mixture = random_mixture(3, 3, seed=0)
    with pytest.raises(InputError, match="d = 3"):
        mode_recovery(mixture.sample(10), mixture)


@pytest.mark.parametrize("name", MIXTURES)
def test_quasi_samples_have_the_moments_and_shares_and_a_lower_floor(name):
    mixture = MIXTURES[name]
    mean, covariance = (a.numpy() for a in mixture.moments())
    x = quasi_sample(mixture, 2**14, seed=3)
    assert np.allclose(x.mean(0), mean, atol=2e-3)
    assert np.allclose(np.cov(x.T), covariance, atol=5e-3)
    floor = sliced_wasserstein(x, quasi_sample(mixture, 2**14, seed=4), 32)
    assert floor < 0.3 * sliced_wasserstein(*(mixture.sample(2**14, k) for k in (1, 2)), 32)


def test_quasi_noise_is_normal_and_follows_from_its_seed():
    z = quasi_noise(2**14, 2, seed=1)
    assert z.dtype == torch.float32 and torch.equal(z, quasi_noise(2**14, 2, seed=1))
    assert not torch.equal(z, quasi_noise(2**14, 2, seed=2))
    assert np.allclose(np.cov(z.T), np.eye(2), atol=5e-3)
    assert float((z**4).mean()) == pytest.approx(3, rel=0.02)
    for n, seed in ((0, 0), (8, -1)):
        with pytest.raises(InputError):
            quasi_noise(n, 2, seed)


def test_unequal_covariances_are_drawn_with_their_axes():
    plain = MIXTURES["uneven"].numpy()
    one = GaussianMixture(plain.weights[:1], plain.means[:1], plain.covariances[:1])
    assert np.allclose(np.cov(quasi_sample(one, 2**14).T), plain.covariances[0], rtol=0.02)


@pytest.mark.parametrize(("n", "w"), [(100, 0.5), (1000, 0.2)])
def test_the_floor_of_separated_modes_is_the_mass_that_crosses(n, w):
    rng, D = np.random.default_rng(0), 2.0
    draws = D * rng.binomial(1, w, size=(400, 2, n, 1))
    squares = [sliced_wasserstein(x, y, 1) ** 2 for x, y in draws]
    assert np.mean(squares) == pytest.approx(2 * D**2 * np.sqrt(w * (1 - w) / np.pi / n), rel=0.15)
