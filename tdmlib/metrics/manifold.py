"""Precision and recall: are samples like real ones, and are all real ones covered?"""

import torch
from torch import Tensor

from tdmlib.errors import InputError, check_number
from tdmlib.metrics.inputs import matrices

__all__ = ["precision_recall"]

PARTS = 20  # of the samples are looked at: enough for a third digit


def _radii(x: Tensor, k: int) -> Tensor:
    return torch.cdist(x, x).kthvalue(k + 1, dim=1).values  # the nearest row is the row itself


def precision_recall(features, reference, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al., 2019) of features (n, d), (m, d).

    The support of a set is estimated by balls around its rows, each up to the k-th neighbour.
    Precision is the share of samples within the support of `reference`, recall the share of
    `reference` within that of the samples. Both depend on the size of the sets: samples are taken m
    at a time, the first parts of them averaged; what fills no part is left out.
    Raises InputError unless both are finite real matrices of the same columns, k ≥ 1 is whole, and
    n ≥ m > k.
    """
    x, y = map(torch.tensor, matrices(features=features, reference=reference))
    k = check_number("k", k, 1, whole=True)
    if not k < len(y) <= len(x):
        raise InputError(
            f"features of {len(x)} and reference of {len(y)} rows: expected n ≥ m > k = {k}"
        )
    radii, found = _radii(y, k), []
    for part in x.split(len(y))[: min(PARTS, len(x) // len(y))]:
        distance = torch.cdist(part, y)
        real, ours = (distance <= radii).any(1), (distance <= _radii(part, k)[:, None]).any(0)
        found.append(torch.stack([real, ours]).double().mean(1))
    precision, recall = torch.stack(found).mean(0).tolist()
    return precision, recall
