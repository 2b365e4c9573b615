"""What the digits record must show: the bars of the chapter."""

import pytest

from tdmlib.records import read_record

NUMBERS = read_record("digits")["numbers"]
SEEDS = read_record("digits")["seeds"]
DISTANCES = ("frechet_test", "frechet_all", "kid_test", "kid_all")


def test_the_record_is_measured_well():
    assert NUMBERS["samples"] == 50_000
    assert len(SEEDS) >= 3
    assert set(NUMBERS["teacher"]) == {"1", "2", "4", "8", "25", "100"}


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_four_step_student_is_closer_to_the_data_than_25_teacher_steps(distance):
    for report in NUMBERS["students"]["4"]:
        assert report[distance] < NUMBERS["teacher"]["25"][distance]
    kind, reference = distance.split("_")
    for seed in SEEDS:
        gap = NUMBERS["gaps"][f"tdm4_seed{seed}_minus_teacher25_{reference}"]
        assert gap[kind][1] < 0


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_four_step_student_is_no_farther_than_100_teacher_steps(distance):
    for report in NUMBERS["students"]["4"]:
        assert report[distance] <= NUMBERS["teacher"]["100"][distance]


def test_nobody_copies_training_images():
    closest, median = NUMBERS["neighbours"]["real_test"]
    for seed in SEEDS:
        ours = NUMBERS["neighbours"][f"tdm4_seed{seed}"]
        assert ours[0] > 0.8 * closest
        assert ours[1] > 0.8 * median
