"""From data to Λ: the principal axes of an array, and the variances along them.

Noise looks the same from every side, so a shift and a rotation bring any Gaussian to the diagonal
case of Prop. 3.1; what a plan does to N(μ, C) it does to each principal axis of C by itself.
"""

import os
import warnings
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from tdmlib.errors import InputError
from tdmlib.linear.operators import reals, variances

MOST_NUMBERS, MOST_AXES = 2**28, 2**13  # 2 GiB of float64, and minutes of linear algebra


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Mean, principal axes and variances of n samples in d dimensions; r = min(n, d)."""

    lam: np.ndarray  #: (d,), falling; 0 where the samples do not vary
    mean: np.ndarray  #: (d,)
    axes: np.ndarray  #: (r, d), orthonormal rows; row k is the axis of lam[k]

    def coordinates(self, data) -> np.ndarray:
        """Along the principal axes: data (n, …) of d numbers a sample becomes (n, r).

        Raises InputError for data of another size.
        """
        return (self._rows("data", data, self.mean.size) - self.mean) @ self.axes.T

    def restore(self, coordinates) -> np.ndarray:
        """The inverse of `coordinates` on the span of the axes: (n, r) becomes (n, d)."""
        return self._rows("coordinates", coordinates, len(self.axes)) @ self.axes + self.mean

    def _rows(self, name: str, values, size: int) -> np.ndarray:
        values = reals(name, values)
        if values.ndim < 2 or prod(values.shape[1:]) != size:
            raise InputError(
                f"{name} of shape {values.shape}: give n samples of {size} numbers each"
            )
        return values.reshape(len(values), size)


def spectrum(data) -> Spectrum:
    """The spectrum of samples, shape (n, …): the covariance has denominator n − 1.

    By singular values, so that small variances keep their digits; what rounding alone
    would leave is set to 0. Raises InputError for fewer than two samples, for what is not
    finite and real, and for more than 2²⁸ numbers or 8,192 axes.
    """
    _check_size(getattr(data, "shape", ()))
    data = reals("data", data)
    if data.ndim < 2 or len(data) < 2 or data.size == 0:
        raise InputError(
            f"data have shape {data.shape}; a spectrum needs two samples, in rows"
        )  # fmt: skip
    data = data.reshape(len(data), -1)
    with np.errstate(over="ignore", invalid="ignore"):
        norm = np.linalg.norm(data)
    if not np.isfinite(norm):
        raise InputError("data hold NaN, infinity, or what is too large to square")
    mean = data.mean(axis=0)
    triangle = np.linalg.qr(data - mean, mode="r")  # has the same covariance
    _, singular, axes = np.linalg.svd(triangle, full_matrices=False)
    singular[singular <= max(data.shape) * np.finfo(float).eps * norm] = 0
    lam = np.zeros(data.shape[1])
    lam[: singular.size] = singular**2 / (len(data) - 1)
    return Spectrum(lam, mean, axes)


def _check_size(shape: tuple[int, ...]) -> None:
    numbers = prod(shape)
    if numbers > MOST_NUMBERS:
        raise InputError(f"data hold {numbers:,} numbers, at most {MOST_NUMBERS:,}: thin them out")
    axes = min(shape[0], numbers // max(shape[0], 1)) if len(shape) > 1 else 0
    if axes > MOST_AXES:
        raise InputError(f"data have {axes:,} axes, at most {MOST_AXES:,}: take fewer samples")


def read_array(path: str | Path) -> np.ndarray:
    """The array of real numbers in a .npy file; objects are never unpickled.

    Raises InputError when the file is missing, is no .npy, or holds no numbers or too many.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{str(path)!r} is no regular file; name a .npy file")
    try:
        with np.errstate(over="raise"), warnings.catch_warnings():  # a header may name any shape
            warnings.simplefilter("ignore")  # of one that Python 2 wrote
            array = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except Exception as error:  # NumPy parses the header as Python, and a header may hold anything
        reason = " ".join(str(error).split())
        raise InputError(
            f"{str(path)!r} is no .npy file of numbers, as np.save writes it: {reason}"
        ) from None
    if array.dtype.kind not in "fiu":
        raise InputError(f"{str(path)!r} holds {array.dtype}; save real numbers")
    _check_size(array.shape)
    return np.array(array)


def read_spectrum(path: str | Path) -> np.ndarray:
    """λ, shape (d,), falling: a .npy file with one axis is a spectrum, with more it is data (n, …).

    Raises InputError as `read_array` and `spectrum`, and for a spectrum that is empty or holds
    what is no variance.
    """
    array = read_array(path)
    if array.ndim > 1:
        return spectrum(array).lam
    if array.size == 0 or array.ndim == 0:
        raise InputError(f"{str(path)!r} has shape {array.shape}; a spectrum has at least one λ")
    return np.sort(variances(array))[::-1]
