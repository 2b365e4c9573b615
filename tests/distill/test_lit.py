from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from tdmlib.denoisers import FromV
from tdmlib.distill.lit import DenoiserTraining, ScoreDistillation
from tdmlib.distill.repeatable import keyed_generator
from tdmlib.distill.tdm import TDM
from tdmlib.errors import InputError
from tdmlib.models import ResidualMLP, load_denoiser, save_denoiser
from tdmlib.models.weights import read_description
from tdmlib.schedules import cosine


@pytest.fixture
def teacher(tmp_path):
    torch.manual_seed(0)
    network = ResidualMLP((1, 8, 8), T=40, classes=10, width=32, blocks=1, dropout=0.5)
    for parameter in network.parameters():  # zero-initialised layers would hide labels and levels
        torch.nn.init.normal_(parameter, std=0.1)
    return save_denoiser(tmp_path / "teacher.safetensors", FromV(network, cosine(40)))


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=1e-3)


def module(teacher, method=TDM, **kwargs):
    def choices(schedule):
        return method(schedule, steps=4)

    settings = dict(batch_size=16, updates_per_epoch=3) | kwargs
    return ScoreDistillation(str(teacher), choices, adamw, adamw, **settings)


def training(teacher, **kwargs):
    network = load_denoiser(teacher).network.train()
    return DenoiserTraining(network, adamw, T=40, **kwargs)


def digits(batches=3):
    x = torch.randn(16, 1, 8, 8, generator=keyed_generator("cpu", 1))
    same = TensorDataset(x.repeat(batches, 1, 1, 1), torch.arange(16 * batches) % 10)
    return DataLoader(same, batch_size=16)


def train(tmp_path, lit, epochs=1, data=None, logger=False):
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", logger=logger, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(lit, data)
    return lit


def weights(denoiser):
    return denoiser.network.last.weight.detach().clone()


def distinct(tensors):
    return len(torch.stack(tuple(tensors)).unique(dim=0))


@dataclass(frozen=True)
class Watched(TDM):
    """The method, and what it was asked: which part, a network's weights, draws and labels."""

    calls: list = field(default_factory=list)

    def rollout(self, student, start, cond=None):
        self.calls.append(("rollout", weights(student), start, cond))
        return super().rollout(student, start, cond)

    def fake_objective(self, fake, rollout, renoise, cond=None):
        self.calls.append(("fake", weights(fake), renoise, cond))
        return super().fake_objective(fake, rollout, renoise, cond)

    def student_objective(self, teacher, fake, rollout, renoise, cond=None):
        self.calls.append(("student", weights(fake), renoise, cond))
        return super().student_objective(teacher, fake, rollout, renoise, cond)


def test_the_run_moves_student_and_fake_but_not_the_teacher(tmp_path, teacher):
    lit = module(teacher)
    before = {k: v.clone() for k, v in lit.state_dict().items()}
    train(tmp_path, lit)
    for key, value in lit.state_dict().items():
        moved = not torch.equal(value, before[key])
        if key.startswith("teacher."):
            assert not moved, key
        elif key.endswith(("last.weight", "update")):
            assert moved, key
    assert int(lit.update) == 3


def test_an_update_sees_no_data_and_asks_the_teacher_once(tmp_path, teacher):
    lit, calls = module(teacher), []
    lit.teacher.register_forward_hook(lambda *_: calls.append(1))
    assert list(lit.train_dataloader()) == [0, 1, 2]  # an epoch is a count, not a data set
    train(tmp_path, lit, epochs=2)
    assert len(calls) == int(lit.update) == 6


def test_ranks_share_one_stream(teacher):
    """Two halves of a batch, as two processes see them, are the whole batch."""
    method, shape = TDM(cosine(40)), (1, 8, 8)
    whole = method.start(8, shape, keyed_generator("cpu", 0, 5))
    parts = [
        method.start(8, shape, keyed_generator("cpu", 0, 5))[r * 4 : r * 4 + 4] for r in (0, 1)
    ]
    assert torch.equal(torch.cat([p.noise for p in parts]), whole.noise)
    other = method.start(8, shape, keyed_generator("cpu", 0, 6))
    assert not torch.equal(other.noise, whole.noise)


def test_gradients_are_clipped_on_both_networks(tmp_path, teacher):
    def sgd(parameters):
        return torch.optim.SGD(parameters, lr=1.0)

    lit = module(teacher, clip=1e-3, warmup=1, last_rate=1.0)
    lit.student_optimizer = lit.fake_optimizer = sgd
    before = {k: v.clone() for k, v in lit.state_dict().items()}
    train(tmp_path, lit)
    for name in ("student", "fake"):
        moved = torch.sqrt(
            sum((v - before[k]).square().sum() for k, v in lit.state_dict().items()
                if k.startswith(f"{name}."))
        )  # fmt: skip
        assert 0 < moved <= 3 * 1e-3 * 1.001


def test_both_rates_have_decayed_at_the_end(tmp_path, teacher):
    lit = train(tmp_path, module(teacher, warmup=1, last_rate=0.25), epochs=4)
    for optimizer in lit.optimizers():
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.25 * 1e-3)


@pytest.mark.parametrize("n", [1, 3])
def test_an_update_is_one_rollout_then_one_of_the_student_and_n_of_the_fake(tmp_path, teacher, n):
    lit = train(tmp_path, module(teacher, Watched, fake_updates=n, batch_size=64))
    parts, networks, draws, labels = zip(*lit.method.calls, strict=True)
    assert parts == ("rollout", "student", *["fake"] * n) * 3
    assert distinct(draw.noise for draw in draws) == len(parts)
    assert set(torch.cat(labels).tolist()) == set(range(10))
    starts = range(0, len(parts) + 1, n + 2)
    assert all(distinct(labels[a:b]) == 1 for a, b in pairwise(starts))
    assert distinct(labels) == 3
    fakes = [w for part, w in zip(parts, networks, strict=True) if part != "rollout"]
    assert distinct([networks[0], fakes[0], weights(load_denoiser(teacher))]) == 1
    assert distinct(fakes) == 3 * n


@pytest.mark.parametrize(("make", "data"), [(module, None), (training, digits())])
def test_a_run_follows_from_its_seed_alone(tmp_path, teacher, make, data):
    runs = []
    for stray, seed in enumerate((3, 3, 4)):
        torch.manual_seed(stray)
        runs.append(weights(train(tmp_path, make(teacher, seed=seed), data=data).average.module))
    assert torch.equal(runs[0], runs[1]) and not torch.allclose(runs[0], runs[2], atol=1e-7)


def test_the_teacher_is_guided(teacher):
    original, guided = load_denoiser(teacher), module(teacher, guidance=3.0).teacher
    z = torch.randn(4, 1, 8, 8, generator=keyed_generator("cpu", 2))
    t, cond = torch.tensor([1, 9, 30, 40]), torch.tensor([0, 2, 5, 9])
    full, empty = original(z, t, cond), original(z, t)
    assert not torch.allclose(full, empty, atol=1e-3)
    assert torch.allclose(guided(z, t, cond), 3 * full - 2 * empty, atol=1e-5)


def assert_average_is_saved(lit, name, seen, **notes):
    """The file holds the warm exponential average, with decay 0.2, of the weights after updates."""
    mean = seen[0]
    for n, value in enumerate(seen[1:], 1):
        decay = min(0.2, (1 + n) / (10 + n))
        mean = decay * mean + (1 - decay) * value
    path = Path(lit.trainer.log_dir) / f"{name}.safetensors"
    saved = weights(load_denoiser(path))
    assert torch.allclose(saved, mean, rtol=0, atol=1e-7)
    assert not torch.allclose(saved, seen[-1], rtol=0, atol=1e-5)
    assert read_description(path)["notes"] == {"updates": len(seen), **notes}


def test_the_average_of_the_student_is_saved(tmp_path, teacher):
    lit = module(teacher, Watched, ema=0.2, warmup=1)
    train(tmp_path, lit, logger=CSVLogger(tmp_path))
    seen = [w for part, w, *_ in lit.method.calls if part == "rollout"]
    seen = [*seen[1:], weights(lit.student)]
    assert_average_is_saved(lit, "student", seen, grids=[[0, 10, 20, 30, 40]], solver="ddim")


def test_a_trained_denoiser_is_saved_and_validated_as_its_average(tmp_path, teacher):
    lit, asked = training(teacher, ema=0.2, warmup=1, last_rate=0.25), []
    lit.network.network.register_forward_pre_hook(
        lambda _, inputs: asked.append((inputs[1], weights(lit.network)))
    )
    train(tmp_path, lit, data=digits(), logger=CSVLogger(tmp_path))
    levels, seen = zip(*asked, strict=True)
    assert distinct(levels) == distinct(seen) == int(lit.update) == 3
    assert_average_is_saved(lit, "teacher", [*seen[1:], weights(lit.network)])
    assert lit.optimizers().param_groups[0]["lr"] == pytest.approx(0.25 * 1e-3)
    before = lit.trainer.validate(lit, digits(), verbose=False)
    assert list(before[0]) == ["val_loss"]  # as `VAETraining` calls it
    torch.nn.init.constant_(lit.network.network.last.bias, float("nan"))
    assert lit.trainer.validate(lit, digits(), verbose=False) == before


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_denoiser_learns_v_at_every_level_with_some_labels_dropped(teacher, share):
    """Off by h from v = αε − σx, with ε solved from z = αx + σε, the loss is h² everywhere."""
    lit, n, T = training(teacher, drop_labels=share), 40_000, 40
    x = torch.randn(n, 2, generator=keyed_generator("cpu", 3), dtype=torch.float64)
    labels = torch.arange(n) % 10

    def predict(z, t, cond):
        angle = torch.pi / 2 / T * t[:, None].double()
        noise = (z - angle.cos() * x) / angle.sin()
        assert abs(noise.mean()) < 0.02 and abs(noise.var() - 1) < 0.03
        counts = t.bincount(minlength=T + 1)
        assert counts[0] == 0 and len(counts) == T + 1
        assert (counts[1:] - n / T).abs().max() < 5 * (n / T) ** 0.5
        dropped = cond == 10
        assert dropped.double().mean() == pytest.approx(share, abs=0.01)
        assert torch.equal(cond[~dropped], labels[~dropped])
        return angle.cos() * noise - angle.sin() * x + 0.3

    stub = SimpleNamespace(predict=predict, schedule=cosine(T), network=SimpleNamespace(classes=10))
    loss = lit.loss(stub, (x, labels), keyed_generator("cpu", 4))
    assert torch.allclose(loss, torch.full_like(x, 0.09))


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, teacher):
    lit = module(teacher)
    torch.nn.init.constant_(lit.fake.network.last.bias, float("nan"))
    with pytest.raises(InputError, match="lower learning rate"):
        train(tmp_path, lit)
