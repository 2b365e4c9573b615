from functools import partial

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from hypothesis import assume, given
from hypothesis import strategies as st

import strategies
from tdmlib.errors import InputError
from tdmlib.linear import marginal_variance, step_operators
from tdmlib.schedules import (
    Schedule,
    cosine,
    edm,
    flow_matching,
    from_ratio,
    linear_beta,
    scaled_linear_beta,
)


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


@pytest.mark.parametrize("t", [3, [0, 5, 8]])
def test_levels_on_another_device_are_looked_up_there(t):
    """The device `meta` holds no numbers, and cannot be waited for."""
    schedule = cosine(8)
    z, there = (torch.ones(3, 2, 2, device=device) for device in ("cpu", "meta"))
    found = schedule.at(torch.tensor(t, device="meta"), there)
    for level, right in zip(found, schedule.at(torch.tensor(t), z), strict=True):
        assert (level.shape, level.device.type) == (right.shape, "meta")
    assert np.allclose(schedule._levels(z), [schedule.alpha, schedule.sigma])
    assert schedule._levels(z) is schedule._levels(z) is not schedule._levels(z.double())


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


@given(strategies.schedules(least=1))
def test_a_ratio_gives_back_its_schedule(schedule):
    with np.errstate(divide="ignore"):
        again = from_ratio(schedule.sigma / schedule.alpha)
    assert np.allclose(again.alpha, schedule.alpha, rtol=1e-15, atol=1e-16)
    assert np.allclose(again.sigma, schedule.sigma, rtol=1e-15, atol=0)


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=20), st.booleans(), st.booleans())
def test_ratios_lose_no_digits_at_either_end(ratio, clean, noise):
    ratio = np.unique(ratio)
    assume(ratio.size > 1 and (ratio[1:] / ratio[:-1]).min() > 1.01)
    ratio = np.r_[[0.0] * clean, ratio, [np.inf] * noise]
    schedule = from_ratio(ratio)
    with np.errstate(divide="ignore"):
        assert np.allclose(schedule.sigma / schedule.alpha, ratio, rtol=1e-15, atol=0)
    assert (schedule.sigma[0] == 0, schedule.alpha[-1] == 0) == (clean, noise)


@pytest.mark.parametrize("scheduler", [DDPMScheduler, DDIMScheduler])
@pytest.mark.parametrize("T", [1000, 50])
def test_beta_schedules_are_those_of_diffusers(scheduler, T):
    for ours, kind, ends in (
        (linear_beta, "linear", {}),
        (linear_beta, "linear", {"beta_start": 0.001, "beta_end": 0.03}),
        (scaled_linear_beta, "scaled_linear", {"beta_start": 0.00085, "beta_end": 0.012}),
    ):
        bars = scheduler(T, beta_schedule=kind, **ends).alphas_cumprod.double().numpy()
        whole, pipeline = ours(T, **ends), ours(T, **ends, set_alpha_to_one=False)
        assert np.allclose(whole.alpha[1:] ** 2, bars, rtol=2e-5, atol=0)  # theirs is float32
        assert np.allclose(whole.sigma[1:] ** 2, 1 - bars, rtol=0, atol=1e-6)
        assert (whole.alpha[0], whole.sigma[0], whole.T) == (1, 0, T)
        assert pipeline == whole.sub(range(1, T + 1))


def test_the_clean_level_is_the_one_that_diffusers_lands_on():
    for clean in (True, False):
        ddim = DDIMScheduler(set_alpha_to_one=clean)
        landing = linear_beta(set_alpha_to_one=clean).alpha[0] ** 2
        assert np.isclose(landing, float(ddim.final_alpha_cumprod), rtol=1e-6)


def test_betas_are_multiplied_without_losing_digits():
    schedule, beta = linear_beta(), 1e-4
    assert np.isclose(schedule.sigma[1], np.sqrt(beta), rtol=1e-15)
    tiny = linear_beta(3, 1e-14, 3e-14)
    assert np.allclose(tiny.sigma**2, [0, 1e-14, 3e-14, 6e-14], rtol=1e-12, atol=0)
    assert linear_beta(4, 0.1, 1.0).alpha[-1] == 0


@pytest.mark.parametrize("shift", [1.0, 3.0, 0.4])
@pytest.mark.parametrize("T", [1, 10, 1000])
def test_flow_matching_is_that_of_diffusers(T, shift):
    schedule = flow_matching(T, shift)
    u = schedule.sigma / (schedule.alpha + schedule.sigma)
    theirs = FlowMatchEulerDiscreteScheduler(T, shift=shift).sigmas.numpy()[::-1]
    assert np.allclose(u[1:], theirs, rtol=1e-6, atol=0)
    assert (u[0], u[-1]) == (0, 1)


@pytest.mark.parametrize("ends", [{}, {"sigma_min": 0.01, "sigma_max": 10.0, "rho": 3.0}])
def test_edm_is_that_of_diffusers(ends):
    for T in (18, 1000):
        schedule = edm(T, **ends)
        theirs = EDMEulerScheduler(**ends)
        theirs.set_timesteps(T)
        sigma = theirs.sigmas.double().numpy()[::-1]
        assert np.allclose(schedule.sigma / schedule.alpha, sigma, rtol=2e-6, atol=0)
    assert np.isclose(edm(1).sigma[1] / edm(1).alpha[1], 80, rtol=1e-14)


@pytest.mark.parametrize("lam", [0.2, 1.0, 7.0])
@pytest.mark.parametrize("T", [1, 2, 9])
def test_the_euler_steps_of_other_conventions_are_ddim_steps(T, lam):
    """On states z_t · scale, dz/du being ε̂ − x̂ for the flow, and dz/dσ being ε̂ for EDM."""
    flow, karras = flow_matching(T, 3.0), edm(T)
    for schedule, scale, velocity in (
        (flow, 1 / (flow.alpha + flow.sigma), (-1, 1)),
        (karras, 1 / karras.alpha, (0, 1)),
    ):
        alpha, sigma = schedule.alpha, schedule.sigma
        time = scale * sigma  # what ε is multiplied by: u, or σ
        estimates = np.stack([alpha * lam, sigma]) / marginal_variance(schedule, lam)
        slope = (velocity @ estimates / scale)[1:]  # at the state 1
        stepped = 1 - np.diff(time) * slope
        operators = step_operators(schedule, lam) * scale[:-1] / scale[1:]
        assert np.allclose(stepped, operators, rtol=1e-12, atol=1e-15)


def test_a_list_of_steps_in_use_is_a_time_shift_of_two():
    u = np.array([1, 0.75, 0.5, 0.25])
    assert (1000 * 2 * u / (1 + u) - 1).astype(int).tolist() == [999, 856, 665, 399]
    shifted, u = flow_matching(1000, shift=2), np.linspace(0, 1, 1001)
    path = shifted.sigma / (shifted.alpha + shifted.sigma)  # where the straight path stands
    assert np.allclose(path, 2 * u / (1 + u))


CONVENTIONS = [cosine, flow_matching, partial(flow_matching, shift=3), edm, linear_beta,
               scaled_linear_beta]  # fmt: skip


@pytest.mark.parametrize("make", CONVENTIONS)
def test_schedules_of_every_length_are_monotone_and_exact_at_the_clean_end(make):
    for T in (1, 2, 3, 100, 1000):
        schedule = make(T)
        assert schedule.T == T and schedule.alpha[0] == 1 and schedule.sigma[0] == 0
        assert np.allclose(np.hypot(schedule.alpha, schedule.sigma), 1, rtol=1e-15)


@given(st.data(), strategies.schedules(least=2))
def test_a_part_of_a_schedule_keeps_its_levels(data, schedule):
    levels = sorted(data.draw(st.sets(st.integers(0, schedule.T), min_size=2)))
    part = schedule.sub(levels)
    assert np.array_equal(part.alpha, schedule.alpha[levels])
    assert np.array_equal(part.sigma, schedule.sigma[levels])
    assert schedule.sub(range(schedule.T + 1)) == schedule


@pytest.mark.parametrize(
    ("levels", "says"),
    [
        ([0, 9], "level = 9: must be a whole number within 0 … 8"),
        ([-1, 3], "level = -1"),
        ([0, 3, 3], "rising strictly"),
        ([8, 0], "rising strictly"),
        ([3], "two or more"),
        ([], "two or more"),
        (5, "two or more"),
        (np.array(5), "two or more"),
        (None, "two or more"),
        ([[0, 1], [2, 3]], "level = "),
        (np.zeros((2, 2), int), "level = "),
        ([0.5, 1], "level = 0.5"),
        (["0", "8"], "level = '0'"),
        ("08", "level = '0'"),
        ([True, False], "level = True"),
        ([0, None], "level = None"),
    ],
)
def test_bad_parts_are_refused_in_one_line(levels, says):
    with pytest.raises(InputError, match=says) as caught:
        cosine(8).sub(levels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        *(partial(make, T) for make in CONVENTIONS for T in (0, -1, 2.5, "8", 10**7)),
        *(partial(linear_beta, 10, start) for start in (-0.1, 1.5, np.nan, "0.1", 0.0)),
        *(partial(scaled_linear_beta, 10, 0.1, end) for end in (-0.1, 1.5, np.inf)),
        *(partial(flow_matching, 4, shift) for shift in (0, -1, np.nan, np.inf, "3", 1e300)),
        *(partial(edm, 4, low) for low in (0, -1, 80.0, 100, np.nan)),
        *(partial(edm, 4, rho=rho) for rho in (0, -7, np.nan, 1e-3, 1e-320, "7")),
        partial(linear_beta, 100_000),
        *(partial(from_ratio, ratio) for ratio in ([0], [0, 0, 1], [1, 0], [-1, 1], [0, np.nan], 3,
          [0, np.inf, np.inf], ["0", "x"], [0, 1j], [[0, 1]], None, [[0], [1, 2]],
          list(range(5000, 0, -1)))),
    ],
)  # fmt: skip
def test_bad_conventions_are_refused_in_one_line(make):
    with pytest.raises(InputError) as caught:
        make()
    assert "\n" not in str(caught.value)
