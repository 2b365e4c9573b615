"""The sliced Wasserstein distance, by POT or, for as many samples on both sides, by sorting."""

import numpy as np


def sliced_wasserstein(samples, reference, projections: int = 256, seed: int = 0) -> float:
    """The sliced W₂ between (n, …) and (m, …), flattened, over random directions."""
    from ot.sliced import get_random_projections, sliced_wasserstein_distance

    x, y = (np.asarray(a, dtype=np.float64).reshape(len(a), -1) for a in (samples, reference))
    if x.shape == y.shape:  # along a direction the k-th smallest goes to the k-th smallest
        directions = get_random_projections(x.shape[1], projections, seed).T
        gaps = (np.sort(x @ u) - np.sort(y @ u) for u in directions)
        return float(np.mean([np.mean(gap**2) for gap in gaps]) ** 0.5)
    return float(sliced_wasserstein_distance(x, y, n_projections=projections, seed=seed))
