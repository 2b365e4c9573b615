"""What the metrics take: finite real numbers, in matrices of one width, and labels of classes."""

import numpy as np

from tdmlib.errors import InputError

__all__ = []

LARGEST = 1e40  # beyond float32; products of six such numbers still fit float64


def _array(name: str, x) -> np.ndarray:
    if hasattr(x, "detach"):  # a tensor
        x = x.detach().cpu()
        x = x.float() if x.is_floating_point() and x.element_size() < 4 else x
    try:
        return np.asarray(x, order="C")
    except (RuntimeError, TypeError, ValueError):  # a ragged list, a sparse tensor
        raise InputError(f"{name} do not make one array") from None


def real(name: str, x) -> np.ndarray:
    """`x` as a float32 or float64 array of finite numbers, at least one.

    Raises InputError otherwise: bool, complex and objects are not real numbers.
    """
    x = _array(name, x)
    if x.dtype.kind not in "fiu":
        raise InputError(f"{name} are of type {x.dtype}; expected real numbers")
    if x.size == 0:
        raise InputError(f"{name} of shape {x.shape} are empty")
    x = x if x.dtype == np.float32 else x.astype(np.float64, copy=False)
    if bad := int((~np.isfinite(x)).sum()):
        raise InputError(f"{name} hold {bad} NaN or infinite values; remove those rows")
    return x


def matrices(rows: int = 1, flat: bool = False, **sets) -> list[np.ndarray]:
    """`sets` as float64 matrices (n, d) of the same d, n ≥ `rows`; (n, …) flattened for `flat`.

    Raises InputError that names the first set of another kind.
    """
    found = {}
    for name, x in sets.items():
        x = real(name, x).astype(np.float64, copy=False)
        if x.ndim == 0 or len(x) < rows or (x.ndim != 2 and not flat):
            shape = "(n, …)" if flat else "(n, d)"
            raise InputError(f"{name} have shape {x.shape}; expected {shape}, n ≥ {rows}")
        if (top := np.abs(x).max()) > LARGEST:
            raise InputError(f"{name} reach {top:g}; scale them to less than {LARGEST:g}")
        found[name] = x.reshape(len(x), -1)
    (first, x), *others = found.items()
    for name, y in others:
        if x.shape[1] != y.shape[1]:
            raise InputError(
                f"{first} of {x.shape[1]} and {name} of {y.shape[1]} columns cannot be compared"
            )
    return list(found.values())


def classes_of(x, labels, least: int = 1) -> np.ndarray:
    """`labels` as an array, one for each row of x, each class at least `least` times.

    Raises InputError for another shape, rarer classes, and what is no number or string.
    """
    labels = _array("labels", labels)
    if labels.shape != x.shape[:1]:
        raise InputError(f"labels have shape {labels.shape}, expected {tuple(x.shape[:1])}")
    if labels.dtype.kind not in "biufSU" or (labels != labels).any():
        raise InputError("labels must be numbers or strings, one for each class")
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < least:
        rare = classes[counts.argmin()]
        raise InputError(f"class {rare} has one sample; each class needs {least} or more")
    return labels
