import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from lightning.pytorch import Trainer
from safetensors.torch import load_file

from tdmlib.denoisers import FromV
from tdmlib.distill.lit import ScoreDistillation, keyed_generator, warm_average, warm_cosine
from tdmlib.distill.tdm import TDM
from tdmlib.errors import InputError
from tdmlib.models import ResidualMLP, save_denoiser
from tdmlib.schedules import cosine

SMALL = [
    "--model.init_args.batch_size=16",
    "--model.init_args.updates_per_epoch=5",
    "--trainer.max_epochs=6",
]


@pytest.fixture
def teacher(tmp_path):
    torch.manual_seed(0)
    network = ResidualMLP((1, 8, 8), T=40, classes=10, width=32, blocks=1)
    torch.nn.init.normal_(network.last.weight, std=0.1)
    return save_denoiser(tmp_path / "teacher.safetensors", FromV(network, cosine(40)))


def fit(folder, teacher, *extra, **kwargs):
    command = [sys.executable, "-m", "tdmlib", "fit", "--config", "configs/digits_tdm.yaml"]
    command += [f"--model.init_args.teacher={teacher}", *SMALL, *extra]
    folder.mkdir(exist_ok=True)
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, **kwargs)


def student(folder):
    return load_file(folder / "runs/digits_tdm/student.safetensors")


def module(teacher, **kwargs):
    def adamw(parameters):
        return torch.optim.AdamW(parameters, lr=1e-3)

    def method(schedule):
        return TDM(schedule, steps=4)

    settings = dict(batch_size=16, updates_per_epoch=3) | kwargs
    return ScoreDistillation(str(teacher), method, adamw, adamw, **settings)


def train(tmp_path, lit, epochs=1):
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(lit)
    return lit


def test_a_killed_run_resumes_to_the_same_weights_bit_for_bit(tmp_path, teacher):
    whole = fit(tmp_path / "whole", teacher)
    assert whole.returncode == 0, whole.stderr
    assert "wrote the averaged student" in whole.stdout + whole.stderr
    command = [sys.executable, "-m", "tdmlib", "fit", "--config", "configs/digits_tdm.yaml"]
    command += [f"--model.init_args.teacher={teacher}", *SMALL]
    (tmp_path / "cut").mkdir()
    victim = subprocess.Popen(
        command, cwd=tmp_path / "cut", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    last = tmp_path / "cut/runs/digits_tdm/last.ckpt"
    while not last.exists() and victim.poll() is None:
        time.sleep(0.005)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    assert not (tmp_path / "cut/runs/digits_tdm/student.safetensors").exists()
    resumed = fit(tmp_path / "cut", teacher, "--ckpt_path=last")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming from" in resumed.stdout
    one, two = student(tmp_path / "whole"), student(tmp_path / "cut")
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_resuming_from_nothing_or_from_another_architecture_is_refused(tmp_path, teacher):
    missing = fit(tmp_path / "a", teacher, "--ckpt_path=last")
    assert missing.returncode == 2
    assert "no checkpoint" in missing.stderr and "Traceback" not in missing.stderr
    assert fit(tmp_path / "a", teacher, "--trainer.max_epochs=1").returncode == 0
    network = ResidualMLP((1, 8, 8), T=40, classes=10, width=48, blocks=1)
    other = save_denoiser(tmp_path / "other.safetensors", FromV(network, cosine(40)))
    before = student(tmp_path / "a")
    refused = fit(tmp_path / "a", other, "--ckpt_path=last")
    assert refused.returncode == 2
    assert "another architecture" in refused.stderr and "Traceback" not in refused.stderr
    assert all(torch.equal(v, before[k]) for k, v in student(tmp_path / "a").items())


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


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, teacher):
    lit = module(teacher)
    torch.nn.init.constant_(lit.fake.network.last.bias, float("nan"))
    with pytest.raises(InputError, match="lower learning rate"):
        train(tmp_path, lit)


def test_rates_and_averages():
    rate = warm_cosine(10, 100, 0.1)
    assert rate(0) == pytest.approx(0.1, rel=1e-3) and rate(100) == pytest.approx(0.1)
    assert max(rate(n) for n in range(101)) > 0.95
    averaged, values = [torch.zeros(1)], [float(n) for n in range(1, 8)]
    expected, update = 0.0, warm_average(0.5)
    for n, value in enumerate(values):
        update(averaged, [torch.tensor([value])], torch.tensor(n))
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
        assert torch.allclose(averaged[0], torch.tensor([expected]))
