"""What the digits record must show: the bars of the chapter."""

import numpy as np
import pytest
import yaml

from tdmlib.records import read_record
from tdmlib.resources import find

NUMBERS = read_record("digits")["numbers"]
SEEDS = read_record("digits")["seeds"]
DISTANCES = ("frechet_test", "frechet_all", "kid_test", "kid_all")


def test_the_record_is_measured_well():
    assert NUMBERS["samples"] == 50_000
    assert len(SEEDS) >= 3
    assert set(NUMBERS["teacher"]) == {"1", "2", "4", "8", "25", "100"}


def gap(steps, which, teacher_steps, distance):
    """The interval of a student's distance minus the teacher's; `steps` is K or "unify4"."""
    kind, reference = distance.split("_")
    name = steps if isinstance(steps, str) else f"tdm{steps}"
    return NUMBERS["gaps"][f"{name}_{which}_minus_teacher{teacher_steps}_{reference}"][kind]


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_four_step_student_is_closer_to_the_data_than_25_teacher_steps(distance):
    """Each seed's distance is smaller, and that of their mean outside its bootstrap interval."""
    for report in NUMBERS["students"]["4"]:
        assert report[distance] < NUMBERS["teacher"]["25"][distance]
    assert gap(4, "mean", 25, distance)[1] < 0


@pytest.mark.parametrize("distance", DISTANCES)
def test_so_is_the_student_of_four_counts_at_four_steps(distance):
    for report in NUMBERS["unify"]["4"]:
        assert report[distance] < NUMBERS["teacher"]["25"][distance]
    assert gap("unify4", "mean", 25, distance)[1] < 0


@pytest.mark.parametrize("seed", SEEDS)
def test_so_is_each_seed_by_the_frechet_distance(seed):
    for distance in ("frechet_test", "frechet_all"):
        assert gap(4, f"seed{seed}", 25, distance)[1] < 0


@pytest.mark.parametrize("distance", DISTANCES)
def test_intervals_hold_the_differences_that_they_are_intervals_of(distance):
    for steps in (4, 1):
        values = [report[distance] for report in NUMBERS["students"][str(steps)]]
        for teacher in (25, 100):
            low, high = gap(steps, "mean", teacher, distance)
            assert (
                low < sum(values) / len(values) - NUMBERS["teacher"][str(teacher)][distance] < high
            )


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_four_step_student_is_no_farther_than_100_teacher_steps(distance):
    for report in NUMBERS["students"]["4"]:
        assert report[distance] <= NUMBERS["teacher"]["100"][distance]


def test_the_curves_reach_the_last_update():
    config = yaml.safe_load(find("configs", "digits_tdm.yaml").read_text())
    updates = config["trainer"]["max_epochs"] * config["model"]["init_args"]["updates_per_epoch"]
    for seed in SEEDS:
        for curve in NUMBERS["curves"][f"tdm4_seed{seed}"].values():
            assert 0.95 * updates < curve[-1][0] <= updates


def test_nobody_copies_training_images():
    """Copies would be closer to a training image than all but 1% of fresh images are."""
    real = NUMBERS["neighbours"]["real_test"]
    for seed in SEEDS:
        ours = NUMBERS["neighbours"][f"tdm4_seed{seed}"]
        assert ours["share_closer"] < 2 * 0.01
        assert ours["median"] > 0.8 * real["median"]


@pytest.mark.parametrize("distance", DISTANCES)
def test_matching_noisy_points_beats_matching_clean_predictions(distance):
    noisy = [report[distance] for report in NUMBERS["students"]["4"]]
    clean = [report[distance] for report in NUMBERS["variants"]["clean"]]
    assert len(noisy) == len(clean) == len(SEEDS)
    assert max(noisy) < min(clean)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_exact_target_of_the_fake_score_loses(distance):
    biased = [report[distance] for report in NUMBERS["students"]["4"]]
    for name in ("transition", "transition_full"):
        exact = [report[distance] for report in NUMBERS["variants"][name]]
        assert max(biased) < min(exact)


@pytest.mark.parametrize("distance", ["frechet_test", "frechet_all"])
def test_it_loses_less_on_full_intervals(distance):
    """In the mean over the seeds."""
    separate, full = (NUMBERS["variants"][name] for name in ("transition", "transition_full"))
    assert sum(a[distance] - b[distance] for a, b in zip(separate, full, strict=True)) > 0


@pytest.mark.parametrize("distance", DISTANCES)
def test_full_intervals_do_no_harm_to_one_student(distance):
    """The published order does not hold here: means are smaller, to all images with every seed."""
    pairs = zip(NUMBERS["students"]["4"], NUMBERS["variants"]["denoised_full"], strict=True)
    gains = [separate[distance] - full[distance] for separate, full in pairs]
    assert sum(gains) > 0
    assert distance.endswith("test") or min(gains) > 0


def test_few_steps_of_the_teacher_are_precise_and_miss_much():
    four, floor = NUMBERS["teacher"]["4"], NUMBERS["floor"]
    assert four["precision"] > floor["precision"] and four["recall"] < 0.7 * floor["recall"]
    for report in NUMBERS["students"]["4"]:
        assert report["recall"] > 1.3 * four["recall"]
        assert floor["precision"] - report["precision"] < 0.03


def frechet(who, K):
    return np.array([report["frechet_all"] for report in NUMBERS[who][str(K)]])


def test_unify_is_trained_as_students_of_its_counts():
    """As many updates, and samples of each K."""
    one, own = (yaml.safe_load(find("configs", f"digits_{name}.yaml").read_text())
                for name in ("unify", "tdm"))  # fmt: skip
    assert one["trainer"]["max_epochs"] == own["trainer"]["max_epochs"]
    settings = one["model"]["init_args"], own["model"]["init_args"]
    for key in ("updates_per_epoch", "student_optimizer", "fake_optimizer", "fake_updates", "ema"):
        assert settings[0][key] == settings[1][key]
    assert settings[0]["batch_size"] == 4 * settings[1]["batch_size"]
    assert settings[0]["fake_by_count"]


@pytest.mark.parametrize("K", [1, 2, 4, 8])
def test_after_a_long_training_too_unify_loses_at_most_a_tenth(K):
    """In the mean over the seeds; at two steps and four every seed is better."""
    own, one = frechet("students", K), frechet("unify", K)
    assert one.mean() < 1.1 * own.mean()
    assert K in (1, 8) or one.max() < own.min()
