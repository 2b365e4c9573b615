"""What the record of short trainings on digits must show: the sentences of two chapters."""

import numpy as np
import pytest

from tdmlib.records import read_record

RECORD = read_record("digits_ablations")
NUMBERS, SEEDS, COUNTS = RECORD["numbers"], RECORD["seeds"], (1, 2, 4, 8)
TEACHER = read_record("digits")["numbers"]["teacher"]
DISTANCES = ("frechet_test", "frechet_all", "kid_test", "kid_all")


def values(label, at="4", name="frechet_all"):
    return np.array([run[at][name] for run in NUMBERS[label]])


def test_the_record_is_measured_well():
    assert len(SEEDS) >= 3 and RECORD["config"]["samples"] >= 10_000
    updates = {k: {r["cost"]["updates"] for r in v} for k, v in NUMBERS.items() if k != "teacher"}
    assert all(len(runs) == len(SEEDS) for k, runs in NUMBERS.items() if k != "teacher")
    for label, found in updates.items():
        assert found == {min(updates["tdm4"]) * (4 if "unify" in label else 1)}
