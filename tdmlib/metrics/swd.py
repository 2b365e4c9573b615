"""The sliced Wasserstein distance, by POT."""

import numpy as np


def sliced_wasserstein(samples, reference, projections: int = 256, seed: int = 0) -> float:
    """The sliced W₂ between (n, …) and (m, …), flattened, over random directions."""
    from ot import sliced_wasserstein_distance

    x, y = (np.asarray(a, dtype=np.float64).reshape(len(a), -1) for a in (samples, reference))
    return float(sliced_wasserstein_distance(x, y, n_projections=projections, seed=seed))
