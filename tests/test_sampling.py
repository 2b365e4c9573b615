import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st

from tdmlib.denoisers import GaussianDenoiser
from tdmlib.errors import InputError
from tdmlib.linear import composite, flow_map
from tdmlib.sampling import ddim_step, extrapolate, sample, time_grid, trajectory
from tdmlib.schedules import Schedule, cosine


@given(st.integers(1, 300), st.data())
def test_an_even_grid_has_both_ends_and_no_repeats(T, data):
    K = data.draw(st.integers(1, T))
    grid = time_grid(K, T)
    assert (grid[0], grid[-1], len(set(grid))) == (0, T, K + 1)
    assert np.abs(np.array(grid) - np.arange(K + 1) * T / K).max() <= 0.5


@given(st.integers(1, 20), st.floats(0.5, 3))
def test_a_spacing_is_a_power_of_the_even_grid(K, spacing):
    grid = np.array(time_grid(K, 10_000, spacing))
    assert np.abs(grid - 10_000 * (np.arange(K + 1) / K) ** spacing).max() <= 0.5 + 1e-6
    assert time_grid(K, 10_000, 1.0) == time_grid(K, 10_000)


@pytest.mark.parametrize(
    ("steps", "spacing", "says"),
    [
        (4, 0, "spacing = 0"),
        (8, 3, "two of K = 8 steps share a level"),
        ([5, 2], 1.5, "names levels"),
    ],
)
def test_a_spacing_that_has_no_grid_is_refused(steps, spacing, says):
    with pytest.raises(InputError, match=says):
        time_grid(steps, 10, spacing)


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


@pytest.mark.parametrize("K", [3, 7])
def test_the_second_order_solver_equals_diffusers(K):
    theirs = DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++", solver_order=2, solver_type="midpoint",
        prediction_type="sample", final_sigmas_type="zero", timestep_spacing="linspace",
        lower_order_final=False, num_train_timesteps=100,
    )  # fmt: skip
    theirs.set_timesteps(K)
    levels = torch.cat([torch.ones(1), theirs.alphas_cumprod]).double().numpy()
    schedule = Schedule(np.sqrt(levels), np.sqrt(1 - levels))
    noise = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def denoiser(z, t, cond=None):
        alpha, sigma = schedule.at(t, z)
        return torch.tanh(alpha * z) + 0.3 * sigma * z

    x, steps = noise, [int(t) + 1 for t in theirs.timesteps]
    for timestep in theirs.timesteps:
        x = theirs.step(denoiser(x, int(timestep) + 1), timestep, x).prev_sample
    assert torch.allclose(sample(denoiser, noise, steps, schedule, solver="dpm++"), x, atol=1e-5)
    assert not torch.allclose(sample(denoiser, noise, steps, schedule), x, atol=1e-2)


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpm++", 2)])
@pytest.mark.parametrize("lam", [0.1, 4.0])
def test_the_order_in_which_each_solver_approaches_the_flow(lam, solver, order):
    """On a Gaussian the flow is a number; levels are even in angle, both ends have noise left."""
    errors = []
    for K in (256, 512):
        angles = np.linspace(0.15, 1.4, K + 1)
        schedule = Schedule(np.cos(angles), np.sin(angles))
        found = sample(GaussianDenoiser(schedule, lam), np.ones((1, 1)), K, schedule, solver=solver)
        errors.append(abs(found.item() - float(flow_map(schedule, lam))))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("array", [np.asarray, torch.tensor])
def test_the_step_is_of_first_order_where_the_signal_to_noise_ratio_has_no_logarithm(array):
    schedule, x, before = cosine(8), array([[1.0], [2.0]]), array([[3.0], [5.0]])
    for u, t, s in ((4, 4, 2), (8, 8, 4), (8, 4, 2), (4, 2, 0)):  # first, from noise, to clean
        levels = [array([k, k]) for k in (u, t, s)]
        assert (extrapolate(x, before, *levels, schedule) == x).all()
        assert (extrapolate(x, before, u, t, s, schedule) == x).all()
    lam2, lam3, lam6 = np.log(schedule.alpha[[2, 3, 6]] / schedule.sigma[[2, 3, 6]])
    c = (lam2 - lam3) / (lam3 - lam6) / 2
    mixed = extrapolate(x, before, array([6, 4]), array([3, 4]), array([2, 2]), schedule)
    assert np.allclose(mixed, [[1 + c * (1 - 3)], [2]])
    with pytest.raises(InputError, match="before has shape"):
        extrapolate(x, before[:1], 6, 4, 2, schedule)


def test_another_solver_is_refused():
    with pytest.raises(InputError, match=r"solver 'heun' .* ddim, dpm\+\+"):
        sample(None, np.ones((1, 1)), 2, cosine(8), solver="heun")


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
