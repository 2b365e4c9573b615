import numpy as np
import pytest
import torch

from tdmlib.datasets.latents import encode, unit_scale
from tdmlib.errors import InputError
from tdmlib.linear import spectrum
from tdmlib.models import VAE


@pytest.fixture
def vae():
    torch.manual_seed(0)
    made = VAE((1, 8, 8), latent_channels=3, width=8, stages=1)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def test_rows_are_posterior_means_however_they_come(vae):
    images = torch.rand(300, 1, 8, 8) * 2 - 1
    rows = encode(vae, images)
    assert rows.shape == (300, 3 * 4 * 4) and not rows.requires_grad
    assert torch.allclose(rows, vae.encode(images)[0].flatten(1), atol=1e-5)
    assert torch.allclose(rows, encode(vae, images.split(77)), atol=1e-5)


def test_samples_have_the_posteriors_moments_and_repeat(vae):
    images = (torch.rand(1, 1, 8, 8) * 2 - 1).expand(20_000, -1, -1, -1)
    rows = encode(vae, images, seed=3)
    mean, log_variance = (part.flatten() for part in vae.encode(images[:1]))
    deviation = (log_variance / 2).exp()
    assert (((rows.mean(0) - mean) / deviation).abs() < 5 / 20_000**0.5).all()
    assert torch.allclose(rows.std(0), deviation, rtol=0.03)
    few = encode(vae, images[:9], seed=3)
    assert torch.equal(few, encode(vae, images[:9], seed=3))
    assert not torch.equal(few, encode(vae, images[:9], seed=4))


def test_the_scale_makes_the_mean_variance_one():
    rows = torch.randn(500, 6) * torch.arange(1, 7) + 5
    scale = unit_scale(rows)
    assert np.isclose(spectrum(rows * scale).lam.mean(), 1, rtol=1e-6)
    with pytest.raises(InputError, match="do not vary"):
        unit_scale(torch.ones(5, 2))


@pytest.mark.parametrize(
    ("images", "says"),
    [(torch.zeros(0, 1, 8, 8), "no images"), ([], "no images"),
     ([torch.zeros(2, 1, 8, 8), torch.full((3, 1, 8, 8), torch.nan)], "3 of 5 images have latents"),
     (torch.zeros(2, 1, 4, 4), "this VAE takes")],
)  # fmt: skip
def test_what_is_no_image_of_the_vae_is_refused(vae, images, says):
    with pytest.raises(InputError, match=says):
        encode(vae, images)
    with pytest.raises(InputError, match="seed = -1"):
        encode(vae, torch.zeros(2, 1, 8, 8), seed=-1)
