"""What the record of students of known scores must show: the sentences of the chapter."""

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
        floor = NUMBERS[mixture]["teacher"]["floor"]["swd"]
        assert floor**2 < 0.005 * student(mixture).min() ** 2  # squared distances add


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_each_student_is_closer_to_the_data_than_as_many_steps_of_its_teacher(mixture, steps):
    assert student(mixture, f"tdm{steps}", steps).max() < teacher(mixture, steps)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_four_steps_are_closer_than_one(mixture):
    assert student(mixture).max() < student(mixture, "tdm1", 1).min()


def test_two_steps_are_between_them_on_the_circle_and_the_best_where_modes_are_uneven():
    one, two, four = (student("circle", f"tdm{steps}", steps) for steps in (1, 2, 4))
    assert one.min() > two.max() and two.min() > four.max()
    assert student("uneven", "tdm2", 2).mean() < student("uneven").mean()


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


CHOICES = RECORD["config"]["choices"]


def short(label, key="swd"):
    return student("uneven", label, key=key)


def apart(worse, better):
    return short(worse).min() > short(better).max()


@pytest.mark.parametrize("choice", ["clean", "denoised", "denoised_script", "denoised_exact"])
def test_inexact_matching_is_more_than_twice_as_far(choice):
    assert short(choice).mean() > 2 * short("short").mean() and apart(choice, "short")


@pytest.mark.parametrize(
    "choice", ["l2", "snr", "fake2", "fake5", "full", "independent", "backpropagate"]
)
def test_what_a_short_training_does_not_tell_apart(choice):
    assert not apart(choice, "short") and not apart("short", choice)


@pytest.mark.parametrize(
    ("choice", "most"), [("transition", 1.15), ("full_told", 1.1), ("fisher", 1.2), ("raw", 1.6)]
)
def test_what_is_worse_by_a_little_seed_by_seed(choice, most):
    assert apart(choice, "short") and short(choice).mean() < most * short("short").mean()


def test_another_solver_helps_the_teacher_and_not_the_student():
    for mixture in MIXTURES:
        assert teacher(mixture, "4 dpm++") < teacher(mixture, 4)
        other = np.array([run["dpm++"]["swd"] for run in NUMBERS[mixture]["tdm4"]])
        assert (other > 1.05 * student(mixture)).all()
    assert not apart("dpm++", "short")


@pytest.mark.parametrize("mixture", MIXTURES)
def test_one_student_for_all_counts_loses_more_than_a_tenth(mixture):
    assert student(mixture, "unify").mean() > 1.1 * student(mixture).mean()


def test_networks_that_share_no_weights_lose_little():
    assert short("unify_apart").mean() < 1.1 * short("snr").mean()
    assert short("unify_short").mean() > 2 * short("unify_apart").mean()


def test_the_fake_score_has_to_be_told_the_count_and_width_is_not_what_is_missing():
    mean = {k: short(k).mean() for k in CHOICES if "unify" in k}
    assert mean["unify_student"] > 1.8 * mean["unify_short"]
    assert mean["unify_student"] == pytest.approx(mean["unify_neither"], rel=0.2)
    assert mean["unify_wide"] == pytest.approx(mean["unify_short"], rel=0.3)


def test_differentiating_every_step_costs_memory_and_gains_nothing():
    for a, b in zip(NUMBERS["uneven"]["backpropagate"], NUMBERS["uneven"]["short"], strict=True):
        assert a["held_bytes"] > 3.5 * b["held_bytes"]
    assert not apart("short", "backpropagate")
