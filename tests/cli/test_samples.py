"""Samples drawn from a model, and files of samples that are read."""

import zipfile

import numpy as np
import pytest
import torch

from tdmlib.cli import sampling
from tdmlib.errors import InputError

MODEL = "digits_tdm1.safetensors"


def test_many_samples_are_drawn_in_parts():
    images, labels = sampling.generate(MODEL, 1, 5003, seed=0)
    assert images.shape == (5003, 1, 8, 8) and labels.tolist() == [k % 10 for k in range(5003)]


def test_samples_that_reach_infinity_are_refused(monkeypatch):
    for number in (np.inf, -np.inf, np.nan):
        monkeypatch.setattr(sampling, "sample", lambda d, z, *_, number=number: z + number)
        with pytest.raises(InputError, match="drives the samples to infinity"):
            sampling.generate(MODEL, 1, 3, seed=0)


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
