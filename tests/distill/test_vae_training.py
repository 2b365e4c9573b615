"""Training of a VAE: its loss, and `tdm fit` on a folder of images, stopped and resumed."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from safetensors.torch import load_file

from tdmlib.cli import main
from tdmlib.datasets.digits import Digits
from tdmlib.distill.vae import VAETraining
from tdmlib.errors import InputError
from tdmlib.models import VAE, load_vae
from tdmlib.models.vae import ms_ssim, psnr


def module(**kwargs):
    torch.manual_seed(0)
    vae = VAE((1, 8, 8), latent_channels=2, width=8)
    return VAETraining(vae, lambda p: torch.optim.AdamW(p, 1e-3), warmup=0, **kwargs)


def test_the_loss_is_dissimilarity_plus_the_price_of_the_latents():
    lit = module(kl_weight=0.25)
    x, generator = torch.rand(6, 1, 8, 8) * 2 - 1, torch.Generator().manual_seed(5)
    found = lit.losses(lit.network, x, generator)
    mean, log_variance = lit.network.encode(x)
    noise = torch.randn(mean.shape, generator=generator.manual_seed(5))
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    y = lit.network.decode(mean + q.stddev * noise)
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0, 1)).sum((1, 2, 3))
    assert torch.allclose(found["loss"], 1 - ms_ssim(x, y) + kl / 4, atol=1e-5)
    assert torch.allclose(found["ms_ssim"], ms_ssim(x, y), atol=1e-5)
    assert torch.allclose(found["psnr"], psnr(x, y)) and torch.allclose(found["kl"], kl, atol=1e-5)
    again = lit.losses(lit.network, [x, torch.zeros(6)], generator.manual_seed(5))
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_half_precision_does_not_reach_the_loss():
    """Variances of smooth images, and of latents near their prior, would cancel in it."""
    lit = module()
    torch.nn.init.normal_(lit.network.encoder[-1].weight, std=0.02)
    x = 0.8 + 0.02 * torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def found():
        with torch.no_grad():
            return lit.losses(lit.network, x, torch.Generator().manual_seed(5))

    full = found()
    with torch.autocast("cpu", torch.bfloat16):
        half = found()
        assert lit.network.encode(x)[0].dtype == torch.bfloat16
    assert all(value.dtype == torch.float32 for value in half.values())
    assert torch.allclose(half["ms_ssim"], full["ms_ssim"], atol=0.03)
    assert torch.allclose(half["kl"], full["kl"], rtol=0.1)


def updates_and_averages(every, **settings):
    """What each checkpoint of a run holds of its updates, and of those averaged."""
    found = []

    class Look(ModelCheckpoint):
        def on_train_batch_end(self, trainer, lit, *_):
            found.append((trainer.global_step, int(lit.average.n_averaged)))

    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, callbacks=[Look(every)],
        enable_progress_bar=False, enable_model_summary=False, **settings,
    )  # fmt: skip
    trainer.fit(module(), Digits(batch_size=350))
    return found


def test_the_average_moves_at_each_update_and_before_its_checkpoint(tmp_path):
    assert updates_and_averages(tmp_path) == [(n, n) for n in range(1, 9)]
    apart = updates_and_averages(tmp_path, accumulate_grad_batches=2)
    assert apart == [(n // 2, n // 2) for n in range(1, 9)]


def test_a_checkpoint_within_an_epoch_does_not_resume(tmp_path):
    keep = ModelCheckpoint(tmp_path, every_n_train_steps=2, save_top_k=-1, filename="{step}")
    settings = dict(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    Trainer(callbacks=[keep], **settings).fit(module(), Digits(batch_size=350))
    within, end = tmp_path / "step=2.ckpt", tmp_path / "step=4.ckpt"
    settings |= {"enable_checkpointing": False}
    with pytest.raises(InputError, match="made within an epoch"):
        Trainer(**settings).fit(module(), Digits(batch_size=350), ckpt_path=within)
    Trainer(**settings).fit(module(), Digits(batch_size=350), ckpt_path=end)


def test_validation_judges_the_average_by_noise_that_no_update_has():
    lit, logged = module(), {}
    lit.log_dict, x = logged.update, torch.rand(6, 1, 8, 8) * 2 - 1

    def judged():
        lit.validation_step([x], 0)
        return {name.removeprefix("val_"): float(value) for name, value in logged.items()}

    with torch.no_grad():
        torch.nn.init.normal_(lit.average.module.encoder[-1].weight)
        found, update = judged(), lit.losses(lit.average.module, x, lit.generator())
        assert found["kl"] == pytest.approx(float(update["kl"].mean()))  # no noise in that
        assert found["kl"] > 2 * float(lit.losses(lit.network, x, lit.generator())["kl"].mean())
        assert found["psnr"] != pytest.approx(float(update["psnr"].mean()), rel=1e-6)
        lit.update += 3
        assert judged() == found


def test_the_average_is_what_is_saved(tmp_path):
    lit = module()
    torch.nn.init.normal_(lit.average.module.encoder[-1].weight)
    lit._trainer = SimpleNamespace(is_global_zero=True, loggers=[None], log_dir=tmp_path)
    lit.on_train_end()
    saved, average = load_file(tmp_path / "vae.safetensors"), lit.average.module.state_dict()
    assert all(torch.equal(saved[key], average[key]) for key in average)


def fitted(epochs=4, **kwargs):
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    lit = module(**kwargs)
    trainer.fit(lit, Digits(batch_size=350))
    return lit, {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_training_improves_and_logs_both_parts():
    _, early = fitted(epochs=1)
    lit, late = fitted(epochs=6)
    names = {"loss", "ms_ssim", "psnr", "kl"}
    assert set(late) == names | {f"val_{name}" for name in names}
    assert late["val_loss"] < 0.9 * early["val_loss"] and late["val_psnr"] > early["val_psnr"]
    assert int(lit.update) == 24 and lit.average.n_averaged == 24
    _, dear = fitted(epochs=2, kl_weight=100.0)
    assert dear["kl"] < 0.05 * late["kl"]  # latents that carry nothing


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="kl_weight = -1"):
        module(kl_weight=-1.0)
    lit = module()
    torch.nn.init.constant_(lit.network.decoder[0].bias, float("nan"))
    with pytest.raises(InputError, match="the loss is nan at update 0"):
        lit.training_step([torch.zeros(2, 1, 8, 8)], 0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for k in range(24):
        noise = np.random.default_rng(k).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((24, 20)).save(root / f"{k:02}.png")
    (root / "12.png").write_bytes((root / "12.png").read_bytes()[:200])  # by its header in order
    return root


SMALL = [
    "--data.batch_size=5", "--data.size=16", "--data.least=10", "--data.crop=18", "--threads=1",
    "--trainer.accelerator=cpu", "--model.vae.init_args.stages=2",
    "--model.vae.init_args.shape=[3,16,16]", "--model.vae.init_args.width=8",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*cannot be decoded")
def test_a_stopped_run_resumes_to_the_same_weights_bit_for_bit(
    photos, tmp_path, monkeypatch, capfd
):
    command = ["fit", "--config", "vae_images.yaml", "--trainer.max_epochs=3", *SMALL,
               f"--data.root={photos}"]  # fmt: skip

    def run(folder, *extra):
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        with pytest.raises(SystemExit) as stop:
            main([*command, *extra])
        return stop.value.code

    def weights(folder):
        return tmp_path / folder / "runs/vae_images/vae.safetensors"

    assert not run("whole")
    average = VAETraining.on_train_batch_end

    def stop(self, *args):
        average(self, *args)
        if int(self.update) == 7:  # within the second epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(VAETraining, "on_train_batch_end", stop)
        assert run("stopped") == 130 and not weights("stopped").exists()
    assert not run("stopped", "--ckpt_path=last")
    whole, resumed = load_file(weights("whole")), load_file(weights("stopped"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert load_vae(weights("whole")).config["width"] == 8
    assert "24 images in" in capfd.readouterr().err


@pytest.mark.parametrize("workers", [0, 1])
def test_images_that_are_all_grey_end_in_one_line(tmp_path, monkeypatch, capfd, workers):
    """Whoever decodes them: a worker's error comes with its traceback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for k in range(12):
        Image.new("RGB", (24, 20), (k, k, k)).save(tmp_path / f"photos/{k:02}.png")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "vae_images.yaml", *SMALL, "--data.root=photos",
              f"--data.workers={workers}"])  # fmt: skip
    *_, last = capfd.readouterr().err.splitlines()
    assert stop.value.code == 2
    says = "tdm: 'photos': none of 12 images can be decoded in colour; skipped 12 grey: "
    assert last.startswith(says) and len(last) < len(says) + 40


def test_a_folder_that_cannot_serve_is_one_line(photos, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for arguments, says in (
        ([], "root"),
        ([f"--data.root={photos}", "--data.size=16", "--data.least=9"], "this VAE takes (3, 64"),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            main(["fit", "--config", "vae_images.yaml", "--trainer.accelerator=cpu", *arguments])
        error = capfd.readouterr().err
        *_, last = error.splitlines()
        assert stop.value.code == 2 and says in last, error
        assert len(error.splitlines()) <= 2, error
