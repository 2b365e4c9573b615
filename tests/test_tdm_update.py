"""The library's update and the public script's loop: the same gradients, and the derived calls."""

import gc
import importlib
import sys
from pathlib import Path

import pytest
import torch

from tdmlib.models import load_denoiser


@pytest.fixture(scope="module")
def bench():
    folder = str(Path(__file__).parents[1] / "benchmarks")
    sys.path.insert(0, folder)
    yield importlib.import_module("tdm_update")
    sys.path.remove(folder)


@pytest.fixture
def teacher(bench, tmp_path):
    return bench.write_teacher(tmp_path / "teacher.safetensors", width=32, blocks=1)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_gradients_are_the_scripts_where_the_choices_are(bench, teacher, seed):
    gaps = {}
    module = bench.library(teacher, updates=1).double()
    for drift in (0, 1):
        loop = bench.ScriptLoop(load_denoiser(teacher).double(), bench.SCHEDULE, drift=drift)
        module.fake.load_state_dict(loop.fake.state_dict())
        torch.set_default_dtype(torch.float64)
        gaps[drift] = bench.gradients(module, loop, batch=64, seed=seed)
        torch.set_default_dtype(torch.float32)
    assert max(gaps[0].values()) < 1e-9
    assert min(gaps[1].values()) > 1e-6  # what the drifting grid of the script is worth


def test_the_calls_are_as_derived(bench, teacher):
    expected, seen = bench.derived(), bench.counted(teacher)
    for who, counts in expected.items():
        assert {key: seen[who][key] for key in counts} == counts
        assert seen[who]["operations_in_forwards"] <= counts["forward_equivalents"]
    assert expected["library"]["forward_equivalents"] == 10.5
    assert expected["script"]["forward_equivalents"] == 15


def test_peak_memory_counts_the_tensors_that_live_together(bench):
    old = torch.ones(1_000_000)

    def work():
        a = torch.ones(1_000_000)
        b = a + old
        del a
        return [b * 2, torch.ones(10)]

    megabytes = bench.peak_memory(work) / 4e6
    assert megabytes == pytest.approx(2, abs=0.01)


@pytest.fixture
def no_collection():
    gc.disable()
    yield
    gc.enable()


def test_peak_memory_is_not_lowered_by_what_earlier_work_left(bench, no_collection):
    def leave():
        left = [torch.ones(1_000_000)]
        left.append(left)  # a cycle, as of a trainer and its module: only the collector frees it

    def work():
        gc.collect()
        return torch.ones(2_000_000)

    peaks = [bench.peak_memory(job) / 4e6 for job in (leave, work)]
    assert peaks == pytest.approx([1, 2], abs=0.01)
