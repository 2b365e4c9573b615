"""`tdm fit` stopped and resumed: the same run bit for bit, or a refusal that leaves it alone."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from tdmlib.cli import main
from tdmlib.cli.training import WholeCheckpoints
from tdmlib.denoisers import FromV
from tdmlib.errors import InputError
from tdmlib.models import ResidualMLP, load_denoiser, save_denoiser
from tdmlib.schedules import cosine

SMALL = {"batch_size": 16, "updates_per_epoch": 5}


def save_teacher(path, width=32):
    torch.manual_seed(0)
    network = ResidualMLP((1, 8, 8), T=40, classes=10, width=width, blocks=1)
    torch.nn.init.normal_(network.last.weight, std=0.1)
    return save_denoiser(path, FromV(network, cosine(40)))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return save_teacher(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")


def arguments(teacher, *extra, epochs=6):
    settings = {"teacher": teacher, **SMALL}
    return ["fit", "--config", "configs/digits_tdm.yaml", f"--trainer.max_epochs={epochs}",
            *(f"--model.init_args.{name}={value}" for name, value in settings.items()),
            *extra]  # fmt: skip


def start(folder, teacher, *extra):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tdmlib", *arguments(teacher, *extra)]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process):
    out, _ = process.communicate()
    assert process.returncode == 0, out
    return out


def student(folder):
    return load_file(folder / "runs/digits_tdm/student.safetensors")


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, teacher):
    """The weights of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    finish(start(folder, teacher))
    return student(folder)


def test_a_checkpoint_that_is_stopped_within_leaves_the_one_before(tmp_path, monkeypatch):
    path, checkpoints = tmp_path / "new/last.ckpt", WholeCheckpoints()
    checkpoints.save_checkpoint({"update": torch.tensor(1)}, path)

    def stopped(content, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save_checkpoint({"update": torch.tensor(2)}, path)
    assert torch.load(path, weights_only=True) == {"update": 1}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_resumes_to_the_same_weights_bit_for_bit(tmp_path, teacher, whole, how):
    victim = start(tmp_path, teacher)
    while not (tmp_path / "runs/digits_tdm/last.ckpt").exists() and victim.poll() is None:
        time.sleep(0.005)
    os.kill(victim.pid, how)
    out, _ = victim.communicate()
    assert not (tmp_path / "runs/digits_tdm/student.safetensors").exists()
    if how == signal.SIGINT:
        assert victim.returncode == 130 and "--ckpt_path last goes on" in out
    out = finish(start(tmp_path, teacher, "--ckpt_path=last"))
    assert "resuming from" in out and "wrote the averaged student" in out
    assert equal(whole, student(tmp_path))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, teacher):
    """The folder of a run of one epoch."""
    folder = tmp_path_factory.mktemp("finished")
    out = finish(start(folder, teacher, "--trainer.max_epochs=1"))
    assert "data read: none; teacher evaluations: 1 a sample and update" in out
    return folder


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("model.init_args.method.init_args.steps=2", "method.init_args.steps = 4, this run has 2"),
        (
            "model.init_args.method.init_args.fake_target=transition",
            "fake_target = denoised",
        ),
        ("model.init_args.seed=1", "model.init_args.seed = 0, this run has 1"),
        (
            "model.init_args.student_optimizer.init_args.lr=1e-5",
            "lr = 0.0003",
        ),
        ("model.init_args.batch_size=32", "batch_size = 16"),
        ("seed_everything=7", "made with seed_everything = 0, this run has 7"),
        ("threads=2", "made with threads = 1, this run has 2"),
        ("trainer.max_epochs=3", "made with trainer.max_epochs = 1, this run has 3"),
        ("model.init_args.teacher=OTHER", "model.init_args.teacher = "),
    ],
)
def test_resuming_another_run_is_refused(
    finished, teacher, tmp_path, monkeypatch, capfd, change, says
):
    monkeypatch.chdir(finished)
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    if change.endswith("OTHER"):
        change = f"model.init_args.teacher={save_teacher(tmp_path / 'other.safetensors', width=48)}"
    refused(capfd, says, *arguments(teacher, "--ckpt_path=last", f"--{change}", epochs=1))
    assert before == {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}


def refused(capfd, says, *command):
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(list(command))
    out, error = capfd.readouterr()
    assert stop.value.code == 2 and says in error and error.count("\n") == 1, error
    assert "resuming" not in out


def test_any_training_refuses_what_is_not_its_own(finished, teacher, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    fit = ["fit", "--config", "digits_classifier.yaml", "--trainer.max_epochs=1"]
    with pytest.raises(SystemExit) as stop:
        main(fit)
    assert not stop.value.code
    refused(capfd, "data.init_args.batch_size = 64, this run has 100",
            *fit, "--ckpt_path=last", "--data.init_args.batch_size=100")  # fmt: skip
    refused(capfd, "noise = 0.1, this run has 5", *fit, "--ckpt_path=last",
            "--model.init_args.noise=5")  # fmt: skip
    foreign = finished / "runs/digits_tdm/last.ckpt"
    refused(capfd, "holds a run already", *fit, f"--ckpt_path={foreign}")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    refused(capfd, "model.class_path", *fit, f"--ckpt_path={foreign}")
    checkpoint = torch.load(foreign, weights_only=True)
    torch.save(checkpoint | {"callbacks": {}}, "bare.ckpt")
    refused(capfd, "holds no configuration", *fit, "--ckpt_path=bare.ckpt")


def test_a_new_run_does_not_replace_an_earlier_one(finished, teacher, monkeypatch, capfd):
    monkeypatch.chdir(finished)
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    refused(capfd, "holds a run already", *arguments(teacher, epochs=1))
    assert before == {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}


def test_stopping_before_the_first_checkpoint_says_so(tmp_path, teacher):
    victim = start(tmp_path, teacher, "--model.init_args.updates_per_epoch=100000")
    while not list(tmp_path.rglob("config.yaml")) and victim.poll() is None:
        time.sleep(0.005)
    time.sleep(1)
    os.kill(victim.pid, signal.SIGINT)
    out, _ = victim.communicate(timeout=60)
    assert victim.returncode == 130 and "there is no checkpoint yet" in out


class Code:
    """Unpickled with trust, it would make a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("where", ["state_dict", "optimizer_states", "whole"])
def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(
    finished, teacher, tmp_path, monkeypatch, capfd, where
):
    checkpoint = torch.load(finished / "runs/digits_tdm/last.ckpt", weights_only=True)
    code = Code(tmp_path / "made")
    torch.save(code if where == "whole" else checkpoint | {where: code}, tmp_path / "evil.ckpt")
    monkeypatch.chdir(tmp_path)
    command = arguments(teacher, f"--ckpt_path={tmp_path / 'evil.ckpt'}", epochs=1)
    for extra in ((), ("--weights_only=false",)):
        refused(capfd, "is cut short or no checkpoint", *command, *extra)
    with pytest.raises(InputError, match="not a safetensors file"):
        load_denoiser(tmp_path / "evil.ckpt")
    assert not (tmp_path / "made").exists()
    torch.load(tmp_path / "evil.ckpt", weights_only=False)  # it would have
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "changes",
    [{"state_dict": 5}, {"state_dict": []}, {"callbacks": 5}, {"callbacks": []}, {"loops": {}},
     {"loops": 5}, {"loops": {"fit_loop": {}}}, {"optimizer_states": [{}, {}]},
     {"optimizer_states": [5]}, {"epoch": None}, {"lr_schedulers": {}}],
)  # fmt: skip
def test_what_is_no_checkpoint_inside_is_refused(
    finished, teacher, tmp_path, monkeypatch, capfd, changes
):
    checkpoint = torch.load(finished / "runs/digits_tdm/last.ckpt", weights_only=True)
    torch.save(checkpoint | changes, tmp_path / "made.ckpt")
    monkeypatch.chdir(tmp_path)
    refused(capfd, "is no checkpoint of a training run",
            *arguments(teacher, "--ckpt_path=made.ckpt", epochs=1))  # fmt: skip


def test_what_is_no_tensor_in_a_checkpoint_is_refused(
    finished, teacher, tmp_path, monkeypatch, capfd
):
    checkpoint = torch.load(finished / "runs/digits_tdm/last.ckpt", weights_only=True)
    checkpoint["state_dict"]["student.network.last.bias"] = 5
    torch.save(checkpoint, tmp_path / "made.ckpt")
    monkeypatch.chdir(tmp_path)
    refused(capfd, "student.network.last.bias is no tensor there, (64,) here",
            *arguments(teacher, "--ckpt_path=made.ckpt", epochs=1))  # fmt: skip


@pytest.mark.parametrize("content", [None, b"", b"text", "first half"])
def test_a_broken_checkpoint_is_refused(finished, teacher, tmp_path, monkeypatch, capfd, content):
    whole = (finished / "runs/digits_tdm/last.ckpt").read_bytes()
    folder = tmp_path / "runs/digits_tdm"
    folder.mkdir(parents=True)
    if content is not None:
        content = whole[: len(whole) // 2] if content == "first half" else content
        (folder / "last.ckpt").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    for path in ("last", "runs/digits_tdm/last.ckpt"):
        with pytest.raises(SystemExit) as stop:
            main(arguments(teacher, f"--ckpt_path={path}"))
        error = capfd.readouterr().err
        assert stop.value.code == 2 and error.count("\n") == 1, error
        assert "leave out --ckpt_path" in error
    assert [p.name for p in folder.iterdir()] == ["last.ckpt"] * (content is not None)


def test_a_run_killed_before_its_weights_were_written_gets_them(tmp_path, teacher, whole):
    finish(start(tmp_path, teacher))
    (tmp_path / "runs/digits_tdm/student.safetensors").unlink()
    finish(start(tmp_path, teacher, "--ckpt_path", "last"))
    assert equal(student(tmp_path), whole)
    path = tmp_path / "runs/digits_tdm/last.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    process = start(tmp_path, teacher, "--ckpt_path", "last")
    out, _ = process.communicate()
    assert process.returncode == 2 and "is cut short or no checkpoint" in out
