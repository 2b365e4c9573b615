"""What the record of one update against the public script's loop must show: its bars."""

import pytest

from tdmlib.records import read_record

RECORD = read_record("tdm_update")
NUMBERS, CONFIG = RECORD["numbers"], RECORD["config"]


@pytest.mark.parametrize("size", ["digits", "wide"])
def test_an_update_takes_less_time_and_no_more_memory_than_the_scripts(size):
    assert CONFIG["bars"] == {"time": 0.75, "memory": 1.0, "gradients": 1e-4}
    assert CONFIG["pairs"] >= 20
    found = NUMBERS[size]
    assert found["memory"]["library"] <= found["memory"]["script"]
    assert max(found["gradients"].values()) <= 1e-4
    for who, counts in NUMBERS["derived"].items():
        assert {key: found["counted"][who][key] for key in counts} == counts
    for threads in (1, 2):
        for time in ("time", "time_with_average"):
            assert found[f"threads_{threads}"][time]["ratio"]["median"] <= 0.75
