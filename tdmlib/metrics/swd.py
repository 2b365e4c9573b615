"""The sliced Wasserstein distance, by POT or, for as many samples on both sides, by sorting."""

import numpy as np

from tdmlib.errors import check_number
from tdmlib.metrics.inputs import matrices


def sliced_wasserstein(samples, reference, projections: int = 256, seed: int = 0) -> float:
    """The sliced W₂ between (n, …) and (m, …), flattened, over random directions.

    Raises InputError for sets that are empty, not finite or of other columns, projections < 1, or a
    seed that is no whole number within 0 … 2³² − 1.
    """
    from ot.sliced import get_random_projections, sliced_wasserstein_distance

    x, y = matrices(flat=True, samples=samples, reference=reference)
    projections = check_number("projections", projections, 1, whole=True)
    seed = check_number("seed", seed, 0, 2**32 - 1, whole=True)
    if x.shape == y.shape:  # along a direction the k-th smallest goes to the k-th smallest
        directions = get_random_projections(x.shape[1], projections, seed).T
        gaps = (np.sort(x @ u) - np.sort(y @ u) for u in directions)
        return float(np.mean([np.mean(gap**2) for gap in gaps]) ** 0.5)
    return float(sliced_wasserstein_distance(x, y, n_projections=projections, seed=seed))
