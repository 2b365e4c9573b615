"""What the mixtures record must show: the sentences of the chapter."""

import numpy as np
import pytest

from tdmlib.linear import STRATEGIES
from tdmlib.records import read_record

RECORD = read_record("mixtures")
NUMBERS, SEEDS = RECORD["numbers"], RECORD["seeds"]


def table(name):
    """Shape (values, seeds)."""
    return np.array(list(NUMBERS[name].values()))


def test_the_record_is_measured_well():
    assert len(SEEDS) >= 3 and RECORD["config"]["tested"] >= 20_000
    for name in ("steps", "components", "dimension", "student"):
        assert table(name).shape[1] == len(SEEDS)


def test_what_students_miss_grows_with_the_merged_steps():
    share = table("steps")
    assert (share[0] < 1e-9).all()  # one step is recovered
    assert (np.diff(share, axis=0) > 0).all() and (share[-1] > 10 * share[1]).all()


def test_exact_steps_miss_as_much_as_is_proved_of_them():
    low, high = np.moveaxis(table("steps_gradients"), -1, 0)
    assert (low[1:] <= high[1:]).all() and (np.diff(low, axis=0) > 0).all()


def test_later_steps_amplify_far_less_than_their_bound():
    for runs in NUMBERS["radius"].values():
        for run in runs:
            assert run["measured"][-1] < min(3, run["bound"][-1])
    assert min(run["bound"][-1] for run in NUMBERS["radius"]["4.0"]) > 1000


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_short_trainings_rank_as_the_linear_regime_does_and_long_ones_level(seed):
    runs = NUMBERS["strategies"][seed]
    order = ("sequential_boot", "vanilla", "progressive", "sequential_consistency")
    for s in ("0.4", "1.6", "6.4"):
        losses = [runs[s][name][0] for name in order]
        assert losses == sorted(losses)
    for s in ("25.6", "102.4"):
        assert 0.96 < runs[s]["sequential_boot"][0] / runs[s]["vanilla"][0] < 1.04
    for name in STRATEGIES:
        losses = [runs[str(s)][name][0] for s in (*RECORD["config"]["times"], None)]
        assert (np.diff(losses) < 0).all()
