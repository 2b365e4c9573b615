"""Samples drawn from a model, and files of samples that are read."""

import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tdmlib.cli import sampling
from tdmlib.denoisers import Condition, FromV
from tdmlib.distill.tdm import TDM
from tdmlib.errors import InputError
from tdmlib.models import ResidualMLP, StepExperts, load_denoiser, save_denoiser
from tdmlib.resources import find
from tdmlib.sampling import sample
from tdmlib.schedules import cosine

MODEL = "digits_tdm1.safetensors"


def test_many_samples_are_drawn_in_parts():
    images, labels = sampling.generate(MODEL, 1, 5003, seed=0)
    assert images.shape == (5003, 1, 8, 8) and labels.tolist() == [k % 10 for k in range(5003)]


def test_samples_that_reach_infinity_are_refused(monkeypatch):
    for number in (np.inf, -np.inf, np.nan):
        monkeypatch.setattr(sampling, "sample", lambda d, z, *_, number=number: z + number)
        with pytest.raises(InputError, match="guidance = 3 drives the samples to infinity"):
            sampling.generate(MODEL, 1, 3, seed=0, guidance=3)
        with pytest.raises(InputError, match=f"samples of '{MODEL}' are not finite"):
            sampling.generate(MODEL, 1, 3, seed=0)


def test_no_picture_of_samples_that_are_no_images(tmp_path):
    network = ResidualMLP((2,), 20, 1, width=8, blocks=1)
    model = save_denoiser(tmp_path / "points.safetensors", FromV(network, cosine(20)))
    out, ask = tmp_path / "x.npz", (model, 2, 3, 0, None, 1.0, None)
    with pytest.raises(InputError, match=r"shape \(2,\): a picture is"):
        sampling.run_sample(*ask, out, tmp_path / "x.png")
    assert not out.exists()
    sampling.run_sample(*ask, out, None)
    assert np.load(out)["images"].shape == (3, 2)


@pytest.fixture
def student(tmp_path):
    """A student that has learnt K = 1, 2, 4 and guidance from 2 to 8, with a teacher inside."""
    teacher = load_denoiser(find("data", "digits_teacher.safetensors"))
    network = teacher.network.aware(counts=(1, 2, 4), guidance=(2, 8))
    for block in network.blocks:
        block.film.weight.data += 0.1 * torch.randn_like(block.film.weight)
    torch.nn.init.normal_(network.embed_guidance.weight)
    return save_denoiser(tmp_path / "student.safetensors", FromV(network, teacher.schedule))


def test_a_student_is_told_what_it_has_learnt_and_refuses_what_it_has_not(student):
    denoiser = load_denoiser(student)
    noise = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(7))
    told = Condition(torch.arange(12) % 10, steps=2, guidance=3.5)
    images, _ = sampling.generate(student, 2, 12, seed=7, guidance=3.5, solver="dpm++")
    with torch.no_grad():
        by_hand = sample(denoiser, noise, 2, denoiser.schedule, told, "dpm++")
    assert torch.equal(images, by_hand)
    for wrong, says in (
        (dict(steps=3), "K = 3: the network has learnt K = 1, 2, 4"),
        (dict(steps=2, guidance=9), "guidance = 9.0: must be a finite number within 2.0 … 8.0"),
        (dict(steps=2, guidance=1), "guidance = 1.0"),
    ):
        with pytest.raises(InputError, match=says):
            sampling.generate(student, count=12, seed=7, **{"guidance": 3.5, **wrong})


def test_a_student_is_sampled_on_the_levels_and_by_the_solver_of_its_training(tmp_path):
    teacher, path = load_denoiser(find("data", MODEL)), tmp_path / "student.safetensors"
    save_denoiser(path, teacher, grids=[[0, 300], [0, 200, 450, 900]], solver="dpm++")
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(7))
    for steps, asked, levels, solver in (
        (3, None, [200, 450, 900], "dpm++"), (3, "ddim", [200, 450, 900], "ddim"),
        (1, None, [300], "dpm++"), (2, None, 2, "dpm++"),
    ):  # fmt: skip
        images, labels = sampling.generate(path, steps, 3, seed=7, solver=asked)
        with torch.no_grad():
            by_hand = sample(teacher, noise, levels, teacher.schedule, labels, solver)
        assert torch.equal(images, by_hand)


def test_a_model_says_how_many_steps_it_was_trained_for(tmp_path):
    for name, steps in (("tdm1", 1), ("tdm4", 4), ("unify", 8)):
        assert sampling.Training.of(f"digits_{name}.safetensors").steps == steps
    teacher, path = load_denoiser(find("data", MODEL)), tmp_path / "student.safetensors"
    for notes, steps in (
        ({"grids": [[0, 400, 900], [0, 900]]}, 2), ({}, 4), ({"steps": "many"}, 4),
        ({"grids": 3}, 4), ({"grids": [3, None], "steps": 2}, 2), ({"grids": [[5, 400, 900]]}, 3),
        ({"grids": [[0, 6.2, 20]]}, 4), ({"solver": None}, 4),
        ({"steps": 0}, 4), ({"steps": -3}, 4), ({"steps": True}, 4), ({"steps": [0, 2]}, 2),
    ):  # fmt: skip
        assert sampling.Training.of(save_denoiser(path, teacher, **notes)).steps == steps


@pytest.mark.parametrize("notes", [None, 3, [1], "x"])
def test_notes_that_are_none_are_passed_over(tmp_path, notes):
    path = tmp_path / "student.safetensors"
    save_denoiser(path, load_denoiser(find("data", MODEL)))
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["tdmlib"])
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(state, path, metadata={"tdmlib": json.dumps(about | {"notes": notes})})
    assert sampling.Training.of(path) == ({}, 4, "ddim")


def test_experts_are_sampled_on_their_own_grids_alone(tmp_path):
    method = TDM(cosine(20), counts=(2, 4), spacing=1.7)
    network = StepExperts(ResidualMLP((1, 8, 8), 20, 10, width=8, blocks=1), method.grids, (2, 4))
    path = save_denoiser(tmp_path / "x.safetensors", FromV(network, method.schedule))
    loaded = load_denoiser(path)
    assert sampling.Training.of(path) == ({2: (0, 6, 20), 4: (0, 2, 6, 12, 20)}, 4, "ddim")
    for steps in (2, 4, [6, 20]):
        images, labels = sampling.generate(path, steps, 3, seed=7)
        noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(7))
        K = steps if isinstance(steps, int) else len(steps)
        with torch.no_grad():
            assert torch.equal(images, method.sample(loaded, noise, labels, K))
    levels = r"levels \[0, 5, 20\]: the student has networks for \[0, .*, 20\] and \[0, "
    for steps, says in ((3, "K = 3: the student has networks for K = 2, 4"), ([5, 20], levels)):
        with pytest.raises(InputError, match=says):
            sampling.generate(path, steps, 3, seed=7)


def test_the_command_refuses_step_counts_in_one_line(student, tdm):
    status, out, error = tdm("sample", "--model", str(student), "--steps", "3",
                             "--guidance", "4", "--out", "x.npz")  # fmt: skip
    assert (status, out) == (2, "")
    assert error == "tdm: K = 3: the network has learnt K = 1, 2, 4\n"


def written(path, **arrays):
    np.savez(path, **{"images": np.zeros((60, 64)), **arrays})
    return path


@pytest.mark.parametrize(
    ("labels", "says"),
    [(np.zeros((60, 1), dtype=int), r"shape \(60, 1\)"), (np.zeros((), dtype=int), r"shape \(\)"),
     (np.full(60, 2**64 - 1, dtype=np.uint64), f"label {2**64 - 1} is out of range"),
     (np.full(60, -1), "label -1 is out of range")],
)  # fmt: skip
def test_labels_that_do_not_fit_are_named(tmp_path, labels, says):
    with pytest.raises(InputError, match=says):
        sampling.read_samples(written(tmp_path / "a.npz", labels=labels))


def test_labels_of_any_whole_type_are_read(tmp_path):
    for kind in (np.uint8, np.uint64, np.int16):
        path = written(tmp_path / "a.npz", labels=np.arange(60, dtype=kind) % 10)
        labels = sampling.read_samples(path)[1]
        assert labels.dtype == torch.int64 and labels[:3].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("member", "says"), [("images", "images of type"), ("labels", "labels of")]
)
def test_members_that_are_no_arrays_are_refused(tmp_path, member, says):
    arrays = {"images": np.zeros((60, 64)), "labels": np.zeros(60, dtype=int)}
    del arrays[member]
    np.savez(tmp_path / "a.npz", **arrays)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as file:
        file.writestr(member, b"no array")
    with pytest.raises(InputError, match=says):
        sampling.read_samples(tmp_path / "a.npz")


def test_a_name_that_no_file_can_have_is_not_found(tmp_path):
    for name in ("a" * 5000, "a\0b"):
        with pytest.raises(InputError, match="no samples file"):
            sampling.read_samples(tmp_path / name)
