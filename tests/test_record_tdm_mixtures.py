"""What the record of students of known scores must show: the sentences of the chapter."""

from itertools import pairwise

import numpy as np
import pytest

from tdmlib.nonlinear import planar_mixtures
from tdmlib.records import read_record

RECORD = read_record("tdm_mixtures")
NUMBERS, SEEDS = RECORD["numbers"], RECORD["seeds"]
MIXTURES = list(planar_mixtures())


def student(mixture, label="tdm4", steps=4, key="swd"):
    """One number of a student, over the seeds."""
    return np.array([run[str(steps)][key] for run in NUMBERS[mixture][label]])


def teacher(mixture, steps):
    return NUMBERS[mixture]["teacher"][str(steps)]["swd"]


def test_the_record_is_measured_well():
    assert len(SEEDS) >= 3 and RECORD["config"]["samples"] >= 2**15
    assert list(NUMBERS) == MIXTURES
    for runs in (runs for of in NUMBERS.values() for runs in of.values() if isinstance(runs, list)):
        assert len(runs) == len(SEEDS)
    for mixture in MIXTURES:
        assert NUMBERS[mixture]["teacher"]["floor"]["swd"] < 0.05 * student(mixture).min()


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_each_student_is_closer_to_the_data_than_as_many_steps_of_its_teacher(mixture, steps):
    assert student(mixture, f"tdm{steps}", steps).max() < teacher(mixture, steps)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_more_steps_are_closer(mixture):
    by_steps = [student(mixture, f"tdm{steps}", steps) for steps in (1, 2, 4)]
    assert all(a.mean() > b.mean() for a, b in pairwise(by_steps))
    assert by_steps[0].min() > by_steps[2].max()


@pytest.mark.parametrize("mixture", MIXTURES)
def test_four_steps_beat_eight_of_the_teacher_and_reach_25_within_the_floor(mixture):
    floor = NUMBERS[mixture]["teacher"]["floor of independent samples"]["swd"]
    assert student(mixture).max() < teacher(mixture, 8)
    assert student(mixture).max() < teacher(mixture, 25) + floor


@pytest.mark.parametrize("mixture", MIXTURES)
def test_the_distance_of_eight_steps_is_halved_but_on_the_circle(mixture):
    half = teacher(mixture, 8) / 2
    if mixture == "circle":
        assert half < student(mixture).min() and student(mixture).max() < 1.5 * half
    else:
        assert student(mixture).max() < half


def test_shares_hold_the_circle_back_and_width_the_grid():
    assert student("circle", key="places").max() < teacher("circle", 8) / 2
    assert student("circle", key="places").mean() < 0.75 * student("circle").mean()
    assert student("grid", key="width").min() > 1.5
    alone = [run["last step"]["swd"] for run in NUMBERS["grid"]["tdm4"]]
    assert np.mean(alone) > 0.8 * student("grid").mean()


@pytest.mark.parametrize("choice", ["clean", "denoised", "denoised_exact"])
def test_inexact_matching_is_more_than_twice_as_far(choice):
    assert student("uneven", choice).mean() > 2 * student("uneven").mean()
    assert student("uneven", choice).min() > student("uneven").max()


@pytest.mark.parametrize("choice", ["l2", "fisher", "full", "dpm++"])
def test_metric_divergence_intervals_and_solver_are_not_told_apart(choice):
    other, base = student("uneven", choice), student("uneven")
    assert other.min() < base.max() and base.min() < other.max()


def test_another_solver_helps_the_teacher_and_not_the_student():
    for mixture in MIXTURES:
        assert teacher(mixture, "4 dpm++") < teacher(mixture, 4)
        other = np.array([run["dpm++"]["swd"] for run in NUMBERS[mixture]["tdm4"]])
        gain = other / student(mixture)
        assert gain.min() > 1.3 if mixture != "circle" else np.allclose(gain, 1, atol=0.02)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_one_student_for_all_counts_loses_more_than_a_tenth(mixture):
    assert student(mixture, "unify").mean() > 1.1 * student(mixture).mean()


def test_more_updates_of_the_fake_score_and_even_draws_help_on_average():
    mean = {k: student("uneven", k).mean() for k in ("fake1", "tdm4", "fake5", "independent")}
    assert mean["fake1"] > mean["tdm4"] > mean["fake5"]
    assert mean["independent"] > 1.2 * mean["tdm4"]
    last = [[run["last step"]["swd"] for run in NUMBERS["uneven"][k]] for k in ("tdm4", "fake5")]
    assert np.divide(*np.mean(last, axis=1)) == pytest.approx(1, abs=0.05)


def test_differentiating_every_step_costs_memory_and_gains_nothing():
    every, last = NUMBERS["uneven"]["backpropagate"], NUMBERS["uneven"]["tdm4"]
    for a, b in zip(every, last, strict=True):
        assert a["4"]["swd"] > b["4"]["swd"]  # the same seed
        assert a["held_bytes"] > 4 * b["held_bytes"]
