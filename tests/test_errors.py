import numpy as np
import pytest

from tdmlib.errors import InputError, check_number


def test_numbers_within_their_range_pass():
    assert check_number("x", 0.25, 0, 1) == 0.25
    assert check_number("x", -3) == -3
    whole = check_number("x", np.float64(4.0), 4, 4, whole=True)
    assert whole == 4 and type(whole) is int


@pytest.mark.parametrize(
    ("value", "bounds", "says"),
    [
        (-1, (0,), "x = -1: must be a finite number ≥ 0"),
        (np.float32(3), (0, 2), "x = 3.0: must be a finite number within 0 … 2"),
        (3, (-np.inf, 2), "x = 3: must be a finite number ≤ 2"),
        (np.nan, (), "x = nan: must be a finite number"),
        (np.inf, (0,), "x = inf"),
        ("4", (0,), "x = '4'"),
        (10**50, (0, 1), "x = 10{39}: "),
        (True, (0,), "x = True"),
        (None, (0,), "x = None"),
        (np.ones(2), (0,), "x = array"),
    ],
)  # fmt: skip
def test_anything_else_is_refused(value, bounds, says):
    with pytest.raises(InputError, match=f"^{says}"):
        check_number("x", value, *bounds)


@pytest.mark.parametrize("value", [2.5, np.inf, "2"])
def test_whole_numbers_are_whole(value):
    with pytest.raises(InputError, match="must be a whole number"):
        check_number("x", value, whole=True)


def test_whole_numbers_may_be_longer_than_a_float_and_others_may_not():
    assert check_number("x", 10**400, 1, whole=True) == 10**400
    with pytest.raises(InputError, match=r"x = 10{39}: must be a finite number"):
        check_number("x", 10**400)
    with pytest.raises(InputError, match="x = a very long number"):
        check_number("x", 10**5000)
