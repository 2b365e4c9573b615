"""From images to latents to a plan, on the command line."""

import numpy as np
import pytest
import torch
from PIL import Image

from tdmlib.cli import encoding
from tdmlib.datasets.digits import digits
from tdmlib.datasets.patches import patches
from tdmlib.models import VAE, load_vae, save_vae
from tdmlib.resources import find


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    return str(save_vae(tmp_path / "v.safetensors", VAE((3, 16, 16), 2, width=8)))


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for k in range(5):
        noise = np.random.default_rng(k).integers(0, 256, (30, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"photos/{k}.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "photos/tiny.png")
    return tmp_path / "photos"


def test_a_folder_is_encoded_and_planned(tdm, weights, photos):
    status, out, error = tdm("encode", weights, str(photos), "z.npy")
    assert status == 0 and "wrote 5 latents of 32 numbers, posterior means, to z.npy" in out
    assert error.splitlines()[-1] == "skipped 1 smaller than 16 pixels: tiny.png"
    rows = np.load("z.npy")
    assert rows.shape == (5, 32) and rows.dtype == np.float32
    x = torch.stack([encoding.ImageFolder(photos, 16, least=1)[k] for k in range(5)])
    assert np.allclose(rows, load_vae(weights).encode(x)[0].detach().flatten(1), atol=1e-5)
    status, out, _ = tdm("plan", "--steps", "8", "--time", "1", "--spectrum", "z.npy")
    assert status == 0 and "32 variances λ of z.npy" in out
    assert tdm("encode", weights, str(photos), "c.npy", "--crop", "18", "--count", "3")[0] == 0
    assert np.load("c.npy").shape == (3, 32) and not np.allclose(np.load("c.npy"), rows[:3])


def test_shipped_sets_are_encoded_as_means_or_samples(tdm):
    assert tdm("encode", "vae_digits.safetensors", "digits", "a.npy", "--unit")[0] == 0
    rows = np.load("a.npy")
    assert len(rows) == 1797 and np.isclose(rows.var(0, ddof=1).mean(), 1, rtol=1e-5)
    vae = load_vae(find("data", "vae_digits.safetensors"))
    mean = vae.encode(digits()[0].images[:3])[0].detach().flatten(1).numpy()
    assert np.allclose(rows[:3] / mean, (rows[:3] / mean)[0, 0], rtol=1e-4)
    ask = ["encode", "vae_patches.safetensors", "patches", "--count", "4", "--seed"]
    for name, seed in (("b", "1"), ("c", "1"), ("d", "2")):
        assert "posterior samples" in tdm(*ask[:3], f"{name}.npy", *ask[3:], seed)[1]
    b, c, d = (np.load(f"{name}.npy") for name in "bcd")
    assert np.array_equal(b, c) and not np.array_equal(b, d)
    vae = load_vae(find("data", "vae_patches.safetensors"))
    posterior = vae.encode(patches(4, 32, color=True))
    mean, log_variance = (part.detach().flatten(1).numpy() for part in posterior)
    z = (b - mean) / np.exp(log_variance / 2)
    assert abs(z.mean()) < 0.2 and abs(z.std() - 1) < 0.1


def test_as_many_patches_as_there_are_unless_a_number_is_asked_for(tdm, tmp_path):
    large = save_vae(tmp_path / "l.safetensors", VAE((1, 424, 424), 1, width=8, stages=3))
    most = 2 * (427 - 424 + 1) * (640 - 424 + 1)
    status, out, error = tdm("encode", str(large), "patches", "o.npy", "--count", str(most + 1))
    assert (status, out) == (2, "") and f"within 2 … {most}\n" in error
    seen = []

    def batches(source, vae, count, crop):
        seen.append(count)
        return [torch.zeros(2, 1, 424, 424)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "images", batches)
        for extra in ([], ["--count", str(most)], ["--count", "7"]):
            assert tdm("encode", str(large), "patches", "o.npy", *extra)[0] == 0
    assert seen == [most, most, 7]
    ask = ["vae_digits.safetensors", "digits", "o.npy"]
    with pytest.MonkeyPatch.context() as patch:  # so few latents fit
        patch.setattr(encoding, "MOST", 100 * 16)
        size = int(np.prod(load_vae(find("data", ask[0])).latent_shape))
        assert tdm("encode", *ask)[0] == 0 and len(np.load("o.npy")) == 1600 // size


def test_what_is_left_out_is_a_line_without_our_source(tdm, weights, photos):
    (photos / "1.png").write_bytes((photos / "1.png").read_bytes()[:300])
    Image.new("RGB", (20, 20), (7, 7, 7)).save(photos / "plain.png")
    status, out, error = tdm("encode", weights, str(photos), "z.npy")
    assert status == 0 and "wrote 4 latents" in out
    assert error.splitlines()[2:] == [
        f"tdm: warning: {photos}/1.png cannot be decoded: image file is truncated",
        f"tdm: warning: {photos}/plain.png is grey, its three channels are the same",
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["none.safetensors", "digits", "o.npy"], "shipped are"),
     (["digits_teacher.safetensors", "digits", "o.npy"], "holds a ResidualMLP, not a VAE"),
     (["WEIGHTS", "nowhere", "o.npy"], "'nowhere' does not exist; name a folder of images"),
     (["WEIGHTS", "digits", "o.npy"], "images have shape (1, 8, 8), this VAE takes (3, 16, 16)"),
     (["WEIGHTS", "digits", "o.txt"], "must end in .npy"),
     (["WEIGHTS", "digits"], "argument 'out'"),
     (["WEIGHTS", "patches", "o.npy", "--count", "1"], "count = 1: must be"),
     (["WEIGHTS", "patches", "o.npy", "--count", "999999"], "count = 999999: must be"),
     (["WEIGHTS", "patches", "o.npy", "--seed", "-1"], "seed = -1"),
     (["WEIGHTS", "PHOTOS", "o.npy", "--crop", "3"], "crop = 3"),
     (["WEIGHTS", "patches", "o.npy", "--crop", "40"], "crop = 40: patches are taken as they are"),
     (["WEIGHTS", "PHOTOS", "o.npy", "--crop", "60"], "0 images can serve"),
     (["WEIGHTS", "patches", "no/o.npy"], "no folder 'no'")],
)  # fmt: skip
def test_bad_input_is_one_line(tdm, weights, photos, tmp_path, arguments, says):
    names = {"WEIGHTS": weights, "PHOTOS": str(photos)}
    status, out, error = tdm("encode", *(names.get(a, a) for a in arguments))
    assert status == 2 and says in error and error.count("\n") == 1, error
    assert out == "" and not list(tmp_path.glob("*.npy"))
