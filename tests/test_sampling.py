import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

from tdmlib.denoisers import GaussianDenoiser
from tdmlib.errors import InputError
from tdmlib.linear import composite
from tdmlib.sampling import ddim_step, sample, time_grid, trajectory
from tdmlib.schedules import Schedule, cosine


@given(st.integers(1, 300), st.data())
def test_an_even_grid_has_both_ends_and_no_repeats(T, data):
    K = data.draw(st.integers(1, T))
    grid = time_grid(K, T)
    assert (grid[0], grid[-1], len(set(grid))) == (0, T, K + 1)
    assert np.abs(np.array(grid) - np.arange(K + 1) * T / K).max() <= 0.5


def test_a_list_of_levels_may_be_given_in_either_order():
    assert time_grid([899, 674, 449, 224], 1000) == (0, 224, 449, 674, 899)
    assert time_grid([0, 250, 1000], 1000) == time_grid((1000, 250), 1000) == (0, 250, 1000)


@pytest.mark.parametrize("lam", [0.3, 4.0])
@pytest.mark.parametrize("steps", [1, 3, 8, [8, 5, 2]])
def test_sampling_gaussian_data_is_the_composite_operator(lam, steps):
    schedule, noise = cosine(8), np.random.default_rng(0).standard_normal((6, 1))
    grid = list(time_grid(steps, 8))
    coarse = Schedule(schedule.alpha[grid], schedule.sigma[grid])
    x = sample(GaussianDenoiser(schedule, lam), noise, steps, schedule)
    assert np.allclose(x, composite(coarse, lam) * noise)


def test_steps_equal_diffusers():
    theirs = DDIMScheduler(clip_sample=False, set_alpha_to_one=True, prediction_type="sample")
    theirs.set_timesteps(1000)
    levels = torch.cat([torch.ones(1), theirs.alphas_cumprod]).double().numpy()
    schedule = Schedule(np.sqrt(levels), np.sqrt(1 - levels))
    z, x_hat = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    for t in (1000, 500, 2, 1):
        stepped, _ = ddim_step(x_hat, z, t, t - 1, schedule)
        assert torch.allclose(stepped, theirs.step(x_hat, t - 1, z).prev_sample, atol=2e-5)


def test_rows_may_step_between_levels_of_their_own():
    schedule, z, x_hat = cosine(10), torch.randn(3, 2), torch.randn(3, 2)
    t, s = torch.tensor([10, 7, 3]), torch.tensor([9, 2, 0])
    rows = [
        ddim_step(x_hat[k : k + 1], z[k : k + 1], int(t[k]), int(s[k]), schedule) for k in range(3)
    ]
    together = ddim_step(x_hat, z, t, s, schedule)
    for part in (0, 1):
        assert torch.allclose(together[part], torch.cat([row[part] for row in rows]))


def test_the_trajectory_can_be_watched():
    schedule = cosine(6)
    seen = list(trajectory(GaussianDenoiser(schedule, 1.0), np.ones((1, 1)), 3, schedule))
    assert [t for t, _, _ in seen] == [6, 4, 2, 0]
    assert seen[-1][1] == sample(GaussianDenoiser(schedule, 1.0), np.ones((1, 1)), 3, schedule)


@pytest.mark.parametrize(
    "steps",
    [0, 9, -1, 2.5, np.nan, "4", None, [], [0], [9, 3], [4, 4], [3, 6, 5], [-1, 3], [2.5, 1], "21"],
)
def test_bad_steps_are_refused(steps):
    with pytest.raises(InputError, match=r"(… (T = )?8|≤ 8)"):
        time_grid(steps, 8)


def test_levels_may_come_as_an_array():
    assert time_grid(np.array([8, 3]), 8) == time_grid(torch.tensor([3, 8]), 8) == (0, 3, 8)


def test_no_step_starts_from_clean_samples():
    with pytest.raises(InputError, match="t = 0"):
        ddim_step(np.zeros((2, 1)), np.zeros((2, 1)), np.array([3, 0]), 0, cosine(8))


def test_samples_of_integers_are_refused():
    with pytest.raises(InputError, match="floating"):
        sample(GaussianDenoiser(cosine(8), 1.0), np.ones((2, 1), dtype=int), 4, cosine(8))


def test_a_prediction_of_another_shape_is_refused():
    for wrong in (np.zeros((2, 1)), np.zeros((1, 3)), np.zeros(3)):
        with pytest.raises(InputError, match=r"x_hat has shape .* expected \(2, 3\)"):
            ddim_step(wrong, np.zeros((2, 3)), 8, 4, cosine(8))


def test_the_last_state_is_the_sample_also_where_some_noise_is_left():
    angles = np.linspace(0.2, 1.5, 7)  # σ_0 > 0, so that x_0 is not the last prediction
    schedule = Schedule(np.cos(angles), np.sin(angles))
    *_, (_, z, x_hat), (t, x, same) = trajectory(
        GaussianDenoiser(schedule, 0.5), np.ones((2, 1)), 3, schedule
    )
    assert t == 0 and np.array_equal(x, same)
    assert np.array_equal(x, ddim_step(x_hat, z, 2, 0, schedule)[0])
    assert not np.allclose(x, x_hat)
