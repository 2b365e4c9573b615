"""The one exception that means: the caller can mend this."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Literal, get_args, get_origin, get_type_hints


class InputError(ValueError):
    """Bad input, said in one line: the value, what is allowed, and the way out.

    The command line prints it without a traceback and exits with status 2.
    """


def check_number(name: str, value, least=-math.inf, greatest=math.inf, *, whole=False):
    """`value` if it is a finite number within least … greatest, an int if `whole` is asked for.

    Raises InputError that names the value and the range otherwise; a string or an array is not
    a number.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if number and not (whole and isinstance(value, Integral)):
        number = _finite(value)
    if number and least <= value <= greatest and (not whole or value == int(value)):
        return int(value) if whole else value
    bounds = f" ≥ {least}" if math.isfinite(least) else ""
    if math.isfinite(greatest):
        bounds = f" within {least} … {greatest}" if bounds else f" ≤ {greatest}"
    kind = "a whole number" if whole else "a finite number"
    try:
        shown = str(value) if isinstance(value, Real) else repr(value)
    except ValueError:  # Python does not print whole numbers of more than 4,300 digits
        shown = "a very long number"
    raise InputError(f"{name} = {shown:.40}: must be {kind}{bounds}")


def _finite(value: Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def check_positive(name: str, value, greatest=math.inf):
    """`value` if it is a finite number above 0, at most `greatest`. Raises InputError otherwise."""
    if check_number(name, value, 0, greatest) == 0:
        raise InputError(f"{name} = 0: must be positive")
    return value


def check_shapes(shape: tuple[int, ...], **arrays) -> None:
    """Raise InputError naming the first array of another shape than `shape`; None passes.

    Broadcasting would hide a wrong shape, and average over pairs of samples.
    """
    for name, array in arrays.items():
        if array is not None and tuple(array.shape) != tuple(shape):
            raise InputError(f"{name} has shape {tuple(array.shape)}, expected {tuple(shape)}")


def check_rows(rows: int, **arrays) -> None:
    """Raise InputError naming the first that has neither `rows` rows nor, as one for all, no axis.

    None passes, and so does a number.
    """
    for name, array in arrays.items():
        if isinstance(array, str | Sequence):
            raise InputError(f"{name} = {array!r:.40}: give an array or a tensor, one row a sample")
        if getattr(array, "ndim", 0) and len(array) != rows:
            raise InputError(f"{name} has {len(array)} rows for {rows} samples; give one a sample")


def one_of(name: str, value, allowed: tuple[str, ...]) -> str:
    """`value` if it is among `allowed`. Raises InputError that lists them otherwise."""
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f"{name} {value!r} is unknown; choose one of {', '.join(allowed)}")
    return value


def check_choices(settings) -> None:
    """Raise InputError for a field of a dataclass that its type, a Literal or bool, does not allow.

    Fields of other types pass.
    """
    for name, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if get_origin(hint) is Literal:
            one_of(name, value, get_args(hint))
        if hint is bool and not isinstance(value, bool):
            raise InputError(f"{name} = {value!r}: must be True or False")
