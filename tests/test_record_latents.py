"""What the latents record and the shipped VAEs must show: the bars of the chapter."""

import numpy as np
import pytest
import sympy as sp
import torch
import yaml

from tdmlib.datasets.digits import digits
from tdmlib.datasets.latents import encode
from tdmlib.datasets.patches import patches
from tdmlib.linear import STRATEGIES, phase_boundaries, spectrum
from tdmlib.models import load_vae
from tdmlib.models.vae import ms_ssim, psnr
from tdmlib.models.weights import AUTOENCODER, read_description
from tdmlib.records import read_record
from tdmlib.resources import find
from tdmlib.schedules import cosine

RECORD = read_record("latents")
NUMBERS = RECORD["numbers"]
OWN = {"digits": "1e-3", "patches": "1e-4"}  # the configs' price of a nat


def images(name):
    if name == "digits":
        return digits()[0].images, digits()[1].images
    return tuple(patches(400, 32, color=True, part=part) for part in ("train", "validation"))


def own_runs(name):
    return [NUMBERS["runs"][f"{name}_{OWN[name]}_seed{seed}"] for seed in RECORD["seeds"]]


@pytest.mark.parametrize("name", OWN)
def test_the_record_is_of_the_shipped_configs_and_three_seeds(name):
    assert len(own_runs(name)) >= 3
    config = yaml.safe_load(find("configs", f"vae_{name}.yaml").read_text())
    init = config["model"]["init_args"]
    assert float(OWN[name]) == init["kl_weight"] and init["seed"] == config["seed_everything"] == 0
    about = read_description(find("data", f"vae_{name}.safetensors"), "VAE", AUTOENCODER)
    assert about["config"] == init["vae"]["init_args"]
    assert find("data", f"vae_{name}.safetensors").stat().st_size < 200_000


@pytest.mark.parametrize(("name", "least"), [("digits", (0.95, 18)), ("patches", (0.9, 20))])
def test_the_shipped_vaes_reconstruct_what_they_have_not_seen(name, least):
    vae, (_, held) = load_vae(find("data", f"vae_{name}.safetensors")), images(name)
    with torch.no_grad():
        y = vae.decode(vae.encode(held)[0])
    assert ms_ssim(held, y).mean() > least[0] and psnr(held, y).mean() > least[1]


def test_scaling_a_latent_is_stationary_where_its_second_moment_is_one():
    c, moment, rest = sp.symbols("c m r", positive=True)  # E[mean² + variance], E ln variance
    kl = (c**2 * moment - 1 - sp.log(c**2) - rest) / 2
    assert sp.solve(sp.diff(kl, c).subs(c, 1), moment) == [1]


@pytest.mark.parametrize("name", OWN)
def test_samples_of_each_channel_have_second_moment_one(name):
    vae, (seen, _) = load_vae(find("data", f"vae_{name}.safetensors")), images(name)
    with torch.no_grad():
        mean, log_variance = vae.encode(seen)
    moment = (mean.square() + log_variance.exp()).mean(dim=(0, 2, 3))
    assert (moment - 1).abs().max() < 0.15


@pytest.mark.parametrize("name", OWN)
def test_half_precision_leaves_spectra_as_they_are(name):
    assert NUMBERS["half"][name] < 0.01


@pytest.mark.parametrize("name", OWN)
def test_spectra_here_are_those_of_the_record(name):
    vae = load_vae(find("data", f"vae_{name}.safetensors"))
    count = RECORD["config"]["patches"]
    x = torch.cat([s.images for s in digits()]) if name == "digits" else patches(count, 32, True)
    recorded = np.array(own_runs(name)[0]["lam"]["means"])
    assert np.allclose(spectrum(encode(vae, x)).lam, recorded, rtol=0.01, atol=1e-4)


def gains(plans):
    return 1 - plans["best"] / min(plans["strategies"][name] for name in STRATEGIES)


@pytest.mark.parametrize("name", OWN)
def test_latents_lie_around_the_boundary_and_pixels_far_on_both_sides(name):
    low = phase_boundaries(cosine(32))[0]
    pixels = np.array(NUMBERS["pixels"][name]["lam"])
    pixels /= pixels.mean()
    for run in own_runs(name):
        samples = np.array(run["lam"]["samples"])
        assert 0.85 < samples.mean() < 1.02
        assert np.mean((samples > low / 4) & (samples < 4 * low)) > 0.9
        assert (samples < low).any() and (samples > low).any()
    assert np.mean((pixels > low / 4) & (pixels < 4 * low)) < 0.5


@pytest.mark.parametrize("name", OWN)
def test_the_best_plan_gains_little_on_samples(name):
    for run in own_runs(name):
        assert 0 <= gains(run["plans"]["samples"]["as they are"]) < 0.02


def test_it_gains_on_means_at_unit_variance_and_on_pixels():
    for run in own_runs("patches"):
        for plans, least in ((run["plans"]["means"]["unit"], 0.3),
                             (run["plans"]["means"]["as they are"], 0.18)):  # fmt: skip
            assert gains(plans) > least and plans["jump"] in range(1, 30)
    assert gains(NUMBERS["pixels"]["patches"]["plans"]["unit"]) > 0.3
