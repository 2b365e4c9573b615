"""What the record of students of known scores must show: the sentences of the chapter."""

from functools import cache

import numpy as np
import pytest

from tdmlib.metrics.quasi import quasi_sample
from tdmlib.metrics.swd import sliced_wasserstein
from tdmlib.nonlinear import planar_mixtures
from tdmlib.records import read_record

RECORD = read_record("tdm_mixtures")
NUMBERS, SEEDS, CONFIG = RECORD["numbers"], RECORD["seeds"], RECORD["config"]
MIXTURES = list(planar_mixtures())


def student(mixture, label="tdm4", steps=4, key="swd"):
    """One number of a student, over the seeds."""
    return np.array([run[str(steps)][key] for run in NUMBERS[mixture][label]])


def teacher(mixture, steps):
    return NUMBERS[mixture]["teacher"][str(steps)]["swd"]


@cache
def floor(mixture, samples):
    """Sliced W₂ of two even sets of samples of the data."""
    sets = (quasi_sample(planar_mixtures()[mixture], samples, seed) for seed in (2, 1))
    return sliced_wasserstein(*sets, CONFIG["projections"])


def test_every_row_has_its_seeds():
    assert len(SEEDS) >= 3 and list(NUMBERS) == MIXTURES
    more = CONFIG["more_seeds"]
    for label, runs in (row for of in NUMBERS.values() for row in of.items()):
        assert label == "teacher" or len(runs) == len(more.get(label, SEEDS))
    assert {*more} == {"tdm1", "tdm2", "tdm4", "unify"} and min(map(len, more.values())) >= 6


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("label", CONFIG["students"])
def test_samples_are_enough_for_the_distances_of_students(mixture, label):
    """Squared distances add: the floor's share of the nearest student's is below a percent."""
    samples = CONFIG["students"][label].get("samples", CONFIG["samples"])
    assert floor(mixture, CONFIG["samples"]) == pytest.approx(teacher(mixture, "floor"), rel=1e-3)
    nearest = min(run[K]["swd"] for run in NUMBERS[mixture][label] for K in run if K in "124")
    assert floor(mixture, samples) ** 2 < 0.01 * nearest**2


STEPS = {1: "tdm1", 2: "tdm2", 4: "tdm4"}
KINDS = ["{}", "{}_shared"]  # a network for each step, and one for all


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_student_is_closer_to_the_data_than_as_many_steps_of_its_teacher(mixture, steps, kind):
    label = kind.format(STEPS[steps])
    assert student(mixture, label, steps).max() < teacher(mixture, steps)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_four_steps_are_closer_than_two_and_two_than_one(mixture):
    one, two, four = (student(mixture, label, K) for K, label in STEPS.items())
    assert four.max() < two.min() and two.max() < one.min()


def test_with_one_network_the_order_of_counts_depends_on_the_mixture():
    one, two, four = (student("circle", f"{label}_shared", K) for K, label in STEPS.items())
    assert one.min() > two.max() and two.min() > four.max()
    assert student("uneven", "tdm2_shared", 2).mean() < student("uneven", "tdm4_shared").mean()


@pytest.mark.parametrize("mixture", MIXTURES)
def test_four_steps_halve_the_distance_of_eight_of_the_teacher(mixture):
    assert student(mixture).max() < teacher(mixture, 8) / 2


@pytest.mark.parametrize("mixture", MIXTURES)
def test_four_steps_are_closer_than_25_of_the_teacher(mixture):
    """In the mean, and with every seed, but for the floor of independent samples on the circle."""
    chance = NUMBERS[mixture]["teacher"]["floor of independent samples"]["swd"]
    room = chance * (mixture == "circle")
    assert student(mixture).mean() < teacher(mixture, 25)
    assert student(mixture).max() < teacher(mixture, 25) + room
    assert student(mixture).max() < teacher(mixture, "25 spaced") + room


@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_network_for_each_step_is_closer_than_one_for_all_and_right_in_its_shares(mixture):
    assert student(mixture).max() < student(mixture, "tdm4_shared").min()
    assert student(mixture, key="off").mean() < student(mixture, "tdm4_shared", key="off").mean()


CHOICES = CONFIG["choices"]


def short(label, key="swd"):
    return student("uneven", label, key=key)


def apart(worse, better):
    return short(worse).min() > short(better).max()


@pytest.mark.parametrize("choice", ["clean", "denoised", "denoised_script", "denoised_exact"])
def test_inexact_matching_is_more_than_twice_as_far(choice):
    assert short(choice).mean() > 2 * short("short").mean() and apart(choice, "short")


@pytest.mark.parametrize(
    "choice",
    ["l2", "snr", "fake2", "fake5", "full", "independent", "backpropagate", "shift", "spacing"],
)
def test_what_a_short_training_does_not_tell_apart(choice):
    assert not apart(choice, "short") and not apart("short", choice)


@pytest.mark.parametrize(
    ("choice", "most"), [("transition", 1.15), ("full_told", 1.1), ("fisher", 1.2), ("raw", 1.6)]
)
def test_what_is_worse_by_a_little_seed_by_seed(choice, most):
    assert apart(choice, "short") and short(choice).mean() < most * short("short").mean()


def test_a_network_for_each_step_is_the_choice_that_helps():
    assert apart("short", "experts") and short("experts").mean() < 0.6 * short("short").mean()
    assert {k for k in CHOICES if "unify" not in k and apart("short", k)} == {"experts"}


def test_another_solver_helps_the_teacher_and_not_the_student():
    for mixture in MIXTURES:
        assert teacher(mixture, "4 dpm++") < teacher(mixture, 4)
        other = np.array([run["dpm++"]["swd"] for run in NUMBERS[mixture]["tdm4"]])
        assert (other > 1.05 * student(mixture)).all()
    assert not apart("dpm++", "short")


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("steps", STEPS)
def test_unify_loses_at_most_a_tenth(mixture, steps):
    own = student(mixture, STEPS[steps], steps).mean()
    assert student(mixture, "unify", steps).mean() < 1.1 * own


def test_one_network_for_all_counts_costs_more_than_one_for_all_steps():
    """Against experts on as many samples, and against four steps alone on twice as many."""
    assert short("unify_short").mean() > 4 * short("unify_experts").mean()
    assert short("unify_short").min() > 1.5 * short("snr").max()


def test_the_fake_score_has_to_be_told_the_count_and_width_is_not_what_is_missing():
    mean = {k: short(k).mean() for k in CHOICES if "unify" in k}
    assert mean["unify_student"] > 1.8 * mean["unify_short"]
    for K in STEPS:
        alone, nobody = (student("uneven", f"unify_{x}", K) for x in ("student", "neither"))
        assert alone.min() > nobody.max()
    assert mean["unify_wide"] == pytest.approx(mean["unify_short"], rel=0.3)


def test_differentiating_every_step_costs_memory_and_gains_nothing():
    for a, b in zip(NUMBERS["uneven"]["backpropagate"], NUMBERS["uneven"]["short"], strict=True):
        assert a["held_bytes"] > 3.5 * b["held_bytes"]
    assert not apart("short", "backpropagate")
