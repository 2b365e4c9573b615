"""Random schedules, variances and plans for hypothesis."""

import numpy as np
from hypothesis import strategies as st

from tdmlib.linear import all_plans
from tdmlib.schedules import Schedule

PLANS = {T: list(all_plans(T)) for T in range(2, 7)}


@st.composite
def schedules(draw, least=2, most=6):
    """Any strictly monotone grid of angles, with or without σ_0 = 0 and α_T = 0."""
    T = draw(st.integers(least, most))
    gaps = draw(st.lists(st.floats(0.05, 1), min_size=T + 2, max_size=T + 2))
    gaps[0] *= draw(st.sampled_from([0, 1]))
    gaps[-1] *= draw(st.sampled_from([0, 1]))
    angles = np.cumsum(gaps[:-1]) / sum(gaps) * np.pi / 2
    return Schedule(alpha=np.clip(np.cos(angles), 0, 1), sigma=np.sin(angles))


variances = st.floats(1e-3, 1e3)
times = st.sampled_from([0.0, 1e-3, 0.1, 0.5, 2.0, 6.4])
