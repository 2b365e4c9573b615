import math

import pytest
import torch
import torch.nn.functional as F
from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure

from tdmlib.errors import InputError
from tdmlib.models import VAE, ResidualMLP, load_denoiser, load_vae, save_denoiser, save_vae
from tdmlib.models.vae import (
    BETAS,
    kl_divergence,
    ms_ssim,
    posterior_sample,
    psnr,
    scales_and_kernel,
)


def vae(**config):
    torch.manual_seed(0)
    made = VAE(**{"shape": (1, 8, 8), "latent_channels": 2, "width": 8, "stages": 2} | config)
    for parameter in made.parameters():  # zero-initialised layers would hide mistakes
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


@pytest.mark.parametrize(
    ("shape", "stages", "grid"),
    [((1, 8, 8), 2, (2, 2)), ((3, 32, 32), 3, (4, 4)), ((3, 12, 20), 2, (3, 5)),
     ((1, 6, 10), 1, (3, 5))],
)  # fmt: skip
def test_latents_are_a_grid_and_decode_to_images(shape, stages, grid):
    made = vae(shape=shape, stages=stages)
    x = torch.rand(3, *shape) * 2 - 1
    mean, log_variance = made.encode(x)
    assert made.latent_shape == (2, *grid) == mean.shape[1:] == log_variance.shape[1:]
    y = made.decode(mean)
    assert y.shape == x.shape and y.abs().max() <= 1
    assert torch.allclose(made.encode(x[1:])[0], mean[1:], atol=1e-5)  # rows are independent


def test_widths_double_and_fresh_blocks_are_the_identity():
    made = VAE((1, 16, 16), width=8, stages=3)
    down = [stage[0] for stage in made.encoder[:-1]]
    up = [stage[1] for stage in made.decoder[1:]]
    assert [conv.out_channels for conv in down] == [8, 16, 32]
    assert [conv.in_channels for conv in up] == [32, 16, 8]
    h = torch.randn(2, 8, 4, 4)
    assert torch.equal(made.encoder[0][1](h), h)


def test_the_second_half_are_log_variances_within_what_exp_serves():
    made = vae(latent_channels=3)
    torch.nn.init.zeros_(made.encoder[-1].weight)
    made.encoder[-1].bias.data = torch.tensor([50.0, -50.0, 1.0, 50.0, -50.0, 1.0])
    mean, log_variance = (
        part[0, :, 0, 0].tolist() for part in made.encode(torch.zeros(1, 1, 8, 8))
    )
    assert mean == [50, -50, 1] and log_variance == [4, -12, 1]


def test_images_leave_the_decoder_through_a_hyperbolic_tangent():
    made, z = vae(), torch.randn(3, 2, 2, 2)
    torch.nn.init.zeros_(made.decoder[-1][1].weight)
    torch.nn.init.constant_(made.decoder[-1][1].bias, math.log(3) / 2)
    assert torch.allclose(made.decode(z), torch.full((3, 1, 8, 8), 0.5))  # (3 − 1)/(3 + 1)


@pytest.mark.parametrize(
    ("config", "says"),
    [({"shape": (1, 7, 8)}, "images of 7×8 pixels: 7 is no multiple of 4"),
     ({"shape": (1, 8, 12), "stages": 3}, "12 is no multiple of 8, which 3 stages need"),
     ({"shape": (8, 8)}, "give channels, height and width"), ({"width": 12}, "multiple of 8"),
     ({"width": 0}, "width = 0"), ({"latent_channels": 0}, "latent_channels = 0"),
     ({"stages": 0}, "stages = 0")],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(config, says):
    with pytest.raises(InputError, match=says):
        vae(**config)


def test_other_shapes_are_refused():
    made = vae()
    with pytest.raises(InputError, match=r"images have shape \(3, 8, 8\), this VAE takes \(1, 8"):
        made.encode(torch.zeros(2, 3, 8, 8))
    with pytest.raises(InputError, match=r"latents have shape \(2, 4, 4\)"):
        made.decode(torch.zeros(2, 2, 4, 4))


def test_the_divergence_and_the_samples_are_those_of_torch():
    mean, log_variance = torch.randn(2, 500, 3)
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    p = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(q, p)
    assert torch.allclose(kl_divergence(mean, log_variance), expected, atol=1e-5)
    torch.manual_seed(1)
    drawn = q.sample()
    torch.manual_seed(1)
    noise = torch.normal(torch.zeros(500, 3), torch.ones(500, 3))
    assert torch.allclose(posterior_sample(mean, log_variance, noise), drawn, atol=1e-5)


def test_scales_and_window_fit_every_size():
    found = {size: scales_and_kernel(size) for size in range(8, 257)}
    assert found[8] == (2, 3) and found[32] == (3, 5) and found[64] == (3, 7)
    assert found[256] == (5, 11)  # the published ones
    for size, (scales, kernel) in found.items():
        assert kernel % 2 == 1 and abs(kernel - min(size**0.5, 11)) <= 1
        coarsest = size / 2 ** (scales - 1)
        assert coarsest >= kernel + kernel // 2  # the window and its radius
        assert scales == 5 or coarsest / 2 < kernel + kernel // 2  # one more would not
    smallest = {choice: size for size, choice in sorted(found.items(), reverse=True)}
    for size in smallest.values():  # torchmetrics takes it
        x = torch.rand(1, 1, size, size) * 2 - 1
        assert torch.allclose(ms_ssim(x, x), torch.ones(1), atol=1e-5)
    with pytest.raises(InputError, match="size = 7"):
        scales_and_kernel(7)


def pairs(size, channels=1, n=5):
    generator = torch.Generator().manual_seed(size)
    x, noise = torch.rand(2, n, channels, size, size, generator=generator)
    x = F.avg_pool2d(x, 3, 1, 1) * 2 - 1
    return x, (x + 0.8 * noise - 0.3).clamp(-1, 1)


@pytest.mark.parametrize("size", [8, 32])
def test_ms_ssim_is_that_of_the_metric_class(size):
    x, y = pairs(size, channels=3)
    scales, kernel = scales_and_kernel(size)
    betas = tuple(beta / sum(BETAS[:scales]) for beta in BETAS[:scales])
    metric = MultiScaleStructuralSimilarityIndexMeasure(
        sigma=1.5 * kernel / 11, kernel_size=kernel, betas=betas, normalize="simple",
        reduction="none", data_range=1.0,
    )  # fmt: skip
    metric.update((x + 1) / 2, (y + 1) / 2)  # as intensities from 0 to 1
    assert torch.allclose(ms_ssim(x, y), metric.compute(), atol=1e-5)


def test_at_full_size_it_is_the_published_one():
    metric = MultiScaleStructuralSimilarityIndexMeasure(
        normalize="simple", reduction="none", data_range=1.0
    )  # window, exponents and constants are its defaults
    x, y = pairs(256, n=2)
    metric.update((x + 1) / 2, (y + 1) / 2)
    assert torch.allclose(ms_ssim(x, y), metric.compute(), atol=1e-5)


@pytest.mark.parametrize("size", [8, 24, 32])
def test_ms_ssim_is_what_its_formula_says(size):
    x, y = (part[..., :size] for part in pairs(32))  # the smaller side counts
    scales, kernel = scales_and_kernel(size)
    offsets = torch.arange(kernel) - kernel // 2
    line = torch.exp(-(offsets**2) / 2 / (1.5 * kernel / 11) ** 2)
    window = (line[:, None] * line / line.sum() ** 2)[None, None]

    def local(values):  # reflected at the border
        return F.conv2d(F.pad(values, (kernel // 2,) * 4, mode="reflect"), window)

    u, v, expected = (x + 1) / 2, (y + 1) / 2, torch.ones(len(x))
    for scale in range(scales):
        mu, nu = local(u), local(v)
        structure = 2 * (local(u * v) - mu * nu) + 0.03**2
        structure = structure / (local(u**2) - mu**2 + local(v**2) - nu**2 + 0.03**2)
        if scale < scales - 1:  # inside, where the window needs no reflection
            r = kernel // 2
            term = structure[..., r:-r, r:-r]
        else:
            term = structure * (2 * mu * nu + 0.01**2) / (mu**2 + nu**2 + 0.01**2)
        exponent = BETAS[scale] / sum(BETAS[:scales])
        expected *= ((1 + term.mean((1, 2, 3))) / 2) ** exponent
        u, v = F.avg_pool2d(u, 2), F.avg_pool2d(v, 2)
    assert torch.allclose(ms_ssim(x, y), expected, atol=1e-5)
    assert ((expected > 0.2) & (expected < 0.98)).all()


@pytest.mark.parametrize("kind", ["constant", "equal", "negative", "black", "random"])
def test_the_loss_has_a_finite_gradient_everywhere(kind):
    x = pairs(32)[0]
    x = {"constant": torch.full_like(x, 0.3), "black": torch.full_like(x, -1)}.get(kind, x)
    y = {"equal": x, "negative": -x, "random": pairs(32)[1]}.get(kind, torch.full_like(x, -1))
    y = y.clone().requires_grad_(True)
    loss = 1 - ms_ssim(y, x)
    assert loss.shape == (5,) and ((loss > -1e-5) & (loss <= 1)).all()
    loss.sum().backward()
    assert torch.isfinite(y.grad).all()


def test_the_ratio_is_in_decibels():
    x, off = torch.zeros(3, 1, 8, 8), torch.zeros(3, 1, 8, 8)
    off[0], off[1], off[2, 0, 0, 0] = 0.2, 2.0, 1.6  # a mean square of 0.04, 4 and 0.04
    assert torch.allclose(psnr(x, x + off), torch.tensor([20.0, 0.0, 20.0]), atol=1e-5)


@pytest.mark.parametrize("measure", [psnr, ms_ssim])
@pytest.mark.parametrize(
    ("one", "other"),
    [((4, 1, 8, 8), (1, 1, 8, 8)), ((4, 3, 8, 8), (4, 1, 8, 8)), ((4, 1, 8, 8), (4, 1, 8, 9)),
     ((8, 8), (8, 8))],
)  # fmt: skip
def test_images_of_other_shapes_are_not_compared(measure, one, other):
    for shapes in ((one, other), (other, one)):
        with pytest.raises(InputError, match="give both the same"):
            measure(*map(torch.zeros, shapes))


def test_weights_come_back(tmp_path):
    one, x = vae(), torch.rand(4, 1, 8, 8) * 2 - 1
    other = load_vae(save_vae(tmp_path / "new/v.safetensors", one, origin="test"))
    assert torch.equal(one.encode(x)[0], other.encode(x)[0]) and not other.training
    assert torch.equal(one.decode(one.encode(x)[0]), other.decode(other.encode(x)[0]))
    half = load_vae(save_vae(tmp_path / "half.safetensors", one, torch.float16))
    assert torch.allclose(one.encode(x)[0], half.encode(x)[0], atol=0.02)


def test_files_of_another_kind_are_refused(tmp_path):
    from tdmlib.denoisers import FromV
    from tdmlib.schedules import cosine

    file = save_vae(tmp_path / "v.safetensors", vae())
    with pytest.raises(InputError, match="describes a denoiser without prediction, alpha, sigma"):
        load_denoiser(file)
    denoiser = FromV(ResidualMLP((1, 8, 8), 10, 2, width=8), cosine(10))
    with pytest.raises(InputError, match="holds a ResidualMLP, not a VAE"):
        load_vae(save_denoiser(tmp_path / "d.safetensors", denoiser))
    wrong = vae()
    wrong.config["stages"] = 1
    with pytest.raises(InputError, match="another architecture"):
        load_vae(save_vae(tmp_path / "w.safetensors", wrong))
    wrong.config["stages"] = 4
    with pytest.raises(InputError, match="describes a VAE unknown here: images of 8×8"):
        load_vae(save_vae(tmp_path / "w.safetensors", wrong))
    wrong.config = {"depth": 1}
    with pytest.raises(InputError, match="unknown here"):
        load_vae(save_vae(tmp_path / "w.safetensors", wrong))
    torch.nn.init.constant_(wrong.decoder[0].bias, float("nan"))
    wrong.config = vae().config
    with pytest.raises(InputError, match="NaN or infinite weights in decoder"):
        load_vae(save_vae(tmp_path / "w.safetensors", wrong))
