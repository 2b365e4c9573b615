import numpy as np
import pytest
import torch
from hypothesis import given

import strategies
from tdmlib.errors import InputError
from tdmlib.schedules import Schedule, cosine


@pytest.mark.parametrize("T", [1, 2, 7, 1000])
def test_cosine_is_the_closed_form_and_exact_at_both_ends(T):
    schedule, t = cosine(T), np.arange(T + 1)
    assert np.allclose(schedule.alpha, np.cos(np.pi * t / (2 * T)), atol=1e-15)
    assert np.allclose(schedule.sigma, np.sin(np.pi * t / (2 * T)), atol=1e-15)
    assert schedule.T == T and schedule.alpha.dtype == np.float64
    assert schedule.alpha[-1] == schedule.sigma[0] == 0
    assert schedule.alpha[0] == schedule.sigma[-1] == 1


@given(strategies.schedules())
def test_schedules_compare_by_content_and_cannot_be_changed(schedule):
    again = Schedule(schedule.alpha.tolist(), schedule.sigma.tolist())
    assert again == schedule and hash(again) == hash(schedule)
    assert schedule != cosine(schedule.T + 1)
    with pytest.raises(ValueError):
        schedule.alpha[0] = 0.5


@pytest.mark.parametrize("t", [3, [0, 5, 8]])
def test_levels_broadcast_in_numpy_and_torch(t):
    schedule, z = cosine(8), np.ones((3, 2, 2), dtype=np.float32)
    alpha, sigma = schedule.at(np.array(t), z)
    assert (alpha * z).shape == z.shape and alpha.dtype == np.float32
    alpha_, sigma_ = schedule.at(torch.tensor(t), torch.from_numpy(z))
    assert np.allclose(alpha, alpha_) and np.allclose(sigma, sigma_)
    assert np.allclose(np.ravel(sigma), schedule.sigma[t])


@pytest.mark.parametrize(
    ("alpha", "sigma", "says"),
    [
        ([1, 0.6], [0, 0.7], "differs from 1 by"),
        ([0.6, 0.8], [0.8, 0.6], "fall strictly"),
        ([1, 0.6, 0.6], [0, 0.8, 0.8], "strictly"),
        ([1], [0], r"shapes \(1,\)"),
        ([1, 0.6], [0, 0.8, 1], "shapes"),
        ([1, np.nan], [0, 1], "NaN"),
        ([1, -0.6], [0, 0.8], "negative"),
        ([0.8, 0.6], [-0.6, 0.8], "negative"),
        ([1, 0.6], [0, 0.801], "differs from 1 by 0.0016"),
        ([1, 1 - 1e-9, 0], [0, 0, 1], "sigma rise strictly"),
    ],
)
def test_bad_schedules_are_refused_in_one_line(alpha, sigma, says):
    with pytest.raises(InputError, match=says) as caught:
        Schedule(alpha, sigma)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("T", [0, -3, 2.5, np.nan, np.inf, "8", 1_000_001, 10**9])
def test_cosine_wants_a_whole_number_of_steps(T):
    with pytest.raises(InputError, match=r"T = .* whole number"):
        cosine(T)


def test_the_finest_grid_is_still_strictly_monotone():
    assert cosine(1_000_000).T == 1_000_000


@pytest.mark.parametrize("t", [-1, 9, 2.5, "3", [1, -1], [0, 9], [0.5, 1.0]])
def test_levels_off_the_grid_are_refused(t):
    for t_, z in ((np.array(t) if isinstance(t, list) else t, np.zeros((2, 3))),
                  (torch.tensor(t) if isinstance(t, list) else t, torch.zeros(2, 3))):  # fmt: skip
        with pytest.raises(InputError, match="whole number"):
            cosine(8).at(t_, z)


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "uint16", "int32", "uint64"])
def test_whole_numbers_of_any_width_are_levels(kind):
    schedule, levels, z = cosine(8), np.array([1, 0, 8]), np.ones((3, 2))
    expected = schedule.alpha[levels][:, None]
    assert np.array_equal(schedule.at(levels.astype(kind), z)[0], expected)
    t = torch.tensor(levels).to(getattr(torch, kind))
    assert np.array_equal(schedule.at(t, torch.from_numpy(z))[0], expected)


@pytest.mark.parametrize(("t", "shape"), [(3 * [1], (1, 2)), ([1], (3, 2)), ([[1], [2]], (2, 2))])
def test_there_is_one_level_or_one_for_each_sample(t, shape):
    for t_, z in ((np.array(t), np.zeros(shape)), (torch.tensor(t), torch.zeros(shape))):
        with pytest.raises(InputError, match="levels t have shape"):
            cosine(8).at(t_, z)
