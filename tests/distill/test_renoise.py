import numpy as np
import pytest
import torch
from torch.distributions import Normal

from tdmlib.distill.losses import distance, fake_loss, student_loss
from tdmlib.distill.renoise import (
    density_ratio,
    diffuse,
    importance_weight,
    mixed_noise,
    stable_target,
    transition_precision,
    transition_target,
)
from tdmlib.distill.tdm import TDM
from tdmlib.errors import InputError
from tdmlib.schedules import cosine

pytestmark = pytest.mark.usefixtures("double")
SCHEDULE = cosine(40)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(count, shape, i, tau):
    """x̂, ε̂, ε, and x_i and x_τ made of them."""
    x_hat, eps_hat, noise = torch.randn(3, count, *shape, generator=generator(1))
    alpha, sigma = SCHEDULE.at(i, x_hat)
    x_i = alpha * x_hat + sigma * eps_hat
    return x_hat, eps_hat, noise, x_i, diffuse(x_i, i, tau, noise, SCHEDULE)


def test_the_exact_weight_is_a_ratio_of_two_densities():
    i, tau = torch.tensor([0, 3, 10, 20, 38]), torch.tensor([9, 4, 30, 21, 40])
    x_hat, eps_hat, noise, x_i, x_tau = drawn(5, (2, 3), i, tau)
    (alpha_i, sigma_i), (alpha, sigma) = SCHEDULE.at(i, x_i), SCHEDULE.at(tau, x_i)
    beta = (sigma**2 - (alpha / alpha_i * sigma_i) ** 2).sqrt()
    top = Normal(alpha * x_hat, sigma).log_prob(x_tau)
    bottom = Normal(alpha / alpha_i * x_i, beta).log_prob(x_tau)
    exact = (top - bottom).sum((1, 2)).exp()
    mixed = mixed_noise(eps_hat, noise, i, tau, SCHEDULE)
    found = density_ratio(mixed, noise, i, tau, SCHEDULE)
    assert torch.allclose(found, exact) and torch.isclose(found[0], torch.tensor(1.0))
    capped = density_ratio(mixed, noise, i, tau, SCHEDULE, cap=0.5)
    assert torch.equal(capped, found.clamp_max(0.5)) and (found > 0.5).any()


@pytest.mark.parametrize(("i", "tau"), [(4, 20), (10, 30), (20, 39)])
def test_weighted_by_it_points_around_x_i_count_as_points_around_the_prediction(i, tau):
    """Its mean is one, and E[w x_τ], E[w x_τ²] are those of N(α x̂, σ²), for given x̂ and ε̂."""
    n = 400_000
    noise = torch.randn(n, 1, generator=generator(2))
    x_hat, eps_hat = torch.full((n, 1), 0.7), torch.full((n, 1), -1.1)
    alpha_i, sigma_i = SCHEDULE.alpha[i], SCHEDULE.sigma[i]
    x_tau = diffuse(alpha_i * x_hat + sigma_i * eps_hat, i, tau, noise, SCHEDULE)[:, 0]
    mixed = mixed_noise(eps_hat, noise, i, tau, SCHEDULE)
    weight = density_ratio(mixed, noise, i, tau, SCHEDULE)
    mean, sigma = SCHEDULE.alpha[tau] * 0.7, SCHEDULE.sigma[tau]
    for power, exact in ((0, 1), (1, mean), (2, mean**2 + sigma**2)):
        value = weight * x_tau**power
        assert abs(value.mean() - exact) < 4 * value.std() / n**0.5


def test_the_transition_target_is_the_score_of_the_way():
    i, tau = torch.tensor([0, 3, 10, 20]), torch.tensor([9, 4, 30, 21])
    _, _, noise, x_i, x_tau = drawn(4, (3,), i, tau)
    (alpha_i, sigma_i), (alpha, sigma) = SCHEDULE.at(i, x_i), SCHEDULE.at(tau, x_i)
    beta = (sigma**2 - (alpha / alpha_i * sigma_i) ** 2).sqrt()
    y = transition_target(x_i, i, tau, noise, SCHEDULE)
    score = (alpha * y - x_tau) / sigma**2
    assert torch.allclose(score, (alpha / alpha_i * x_i - x_tau) / beta**2)
    assert torch.isfinite(transition_target(x_i, i, 40, noise, SCHEDULE)).all()


def test_the_stable_target_is_the_score_of_all_points_of_the_same_law():
    """Against ∇ log of the mean of q(x_τ | x_j) over the points x_j of the group, by autograd."""
    law, i = torch.tensor([[1, 2, 1, 5, 2, 1], [0, 3, 0, 3, 3, 0]])
    tau = torch.tensor([30, 25, 40, 21, 35, 20])
    *_, noise, x_i, x_tau = drawn(6, (1, 3), i, tau)
    y = stable_target(x_i, i, tau, noise, SCHEDULE, law)
    for row in range(6):
        points = x_i[law == law[row]]
        (alpha_i, sigma_i), (alpha, sigma) = SCHEDULE.at(i[row], x_i), SCHEDULE.at(tau[row], x_i)
        scale = alpha / alpha_i
        beta = (sigma**2 - (scale * sigma_i) ** 2).sqrt()
        z = x_tau[row].clone().requires_grad_()
        logs = Normal(scale * points, beta).log_prob(z).sum((1, 2)).logsumexp(0)
        score = torch.autograd.grad(logs, z)[0]
        assert torch.allclose(alpha * y[row], z + sigma**2 * score, atol=1e-9)
    assert torch.isfinite(y).all()
    alone = transition_target(x_i, i, tau, noise, SCHEDULE)
    assert torch.allclose(y[3], alone[3]) and not torch.allclose(y[:3], alone[:3], atol=0.01)


def test_the_stable_target_of_data_far_from_zero_is_as_exact():
    i, tau = torch.full((64,), 1), torch.full((64,), 3)
    x, noise = torch.randn(2, 64, 2, generator=generator(6))
    one = torch.zeros(64).long()
    far = (100 + 0.1 * x).float()
    found = stable_target(far, i, tau, noise.float(), SCHEDULE, one)
    exact = stable_target(far.double(), i, tau, noise, SCHEDULE, one)
    assert found.dtype == torch.float32 and (found - exact).abs().max() < 2e-3
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(stable_target(far, i, tau, noise.float(), SCHEDULE, one), found)
    assert stable_target(x[:0], i[:0], tau[:0], noise[:0], SCHEDULE, one[:0]).shape == (0, 2)


def test_the_stable_target_comes_near_the_score_of_the_law():
    """Of normal points it is known; averaged over more of them, the target varies less about it."""
    i, tau, errors = torch.tensor(10), torch.tensor(14), []
    for n in (1, 16, 256, 2048):
        x_i, noise = torch.randn(2, 2048, 2, generator=generator(n))
        law = torch.arange(2048) // n
        x_tau = diffuse(x_i, i, tau, noise, SCHEDULE)
        exact = SCHEDULE.alpha[14] * x_tau  # of N(0, I) at every level
        y = stable_target(x_i, i, tau, noise, SCHEDULE, law)
        errors.append(float((y - exact).square().mean()))
    assert errors[0] > 2 * errors[1] > 8 * errors[2] > 20 * errors[3]


@pytest.mark.parametrize(("i", "tau"), [(0, 4), (0, 33), (10, 13), (10, 30), (30, 40)])
def test_the_precision_of_the_transition_target_is_one_over_its_variance(i, tau):
    n = 200_000
    x_i, noise = torch.randn(2, n, generator=generator(5))
    x_tau = diffuse(x_i, i, tau, noise, SCHEDULE)
    y = transition_target(x_i, i, tau, noise, SCHEDULE)
    left = y - x_tau * (y * x_tau).mean() / x_tau.square().mean()  # jointly normal
    whole = torch.full((n,), i), torch.full((n,), tau)
    precision = transition_precision(*whole, SCHEDULE, x_i)
    assert precision.shape == (n,) and (precision == precision[0]).all()
    assert float(left.var() * precision[0]) == pytest.approx(1, abs=0.02)
    if i == 0:
        alpha, sigma = SCHEDULE.at(tau, x_i)
        assert torch.isclose(precision[0], (alpha / sigma) ** 2 + 1)


@pytest.mark.parametrize(("weight", "cap"), [("none", None), ("script", None), ("exact", 0.8)])
def test_the_method_weighs_the_fake_loss_by_its_choice(weight, cap):
    method = TDM(SCHEDULE, weight=weight, weight_cap=cap)
    rollout = method.rollout(lambda z, t, c: torch.tanh(z), method.start(32, (2,), generator(3)))
    renoise = method.renoise(32, (2,), generator(4))

    def fake(z, t, cond=None):
        return 0.5 * z

    loss, _ = method.fake_objective(fake, rollout, renoise)
    bare, _ = TDM(SCHEDULE).fake_objective(fake, rollout, renoise)
    x_tau, tau = method.diffused(rollout, renoise)
    mixed = (x_tau - SCHEDULE.at(tau, x_tau)[0] * rollout.x_hat) / SCHEDULE.at(tau, x_tau)[1]
    expected = {
        "none": torch.ones(32),
        "script": ((renoise.noise**2 - mixed**2).mean(1) / 2).exp(),
        "exact": density_ratio(mixed, renoise.noise, rollout.i, tau, SCHEDULE).clamp_max(0.8),
    }[weight]
    assert torch.allclose(loss, bare * expected)
    assert weight == "none" or np.ptp(expected.numpy()) > 0.1


def test_a_ratio_of_other_shapes_or_of_nothing_is_refused():
    x = torch.zeros(4, 2)
    with pytest.raises(InputError, match=r"noise has shape .* expected \(4, 2\)"):
        density_ratio(x, x[:1], 3, 5, SCHEDULE)
    with pytest.raises(InputError, match="tau ≥ i"):
        density_ratio(x, x, 5, 3, SCHEDULE)
    with pytest.raises(InputError, match=r"group has shape \(3,\), expected \(4,\)"):
        stable_target(x, 3, 5, x, SCHEDULE, torch.zeros(3))
    with pytest.raises(InputError, match=r"noise has shape \(1, 2\), expected \(4, 2\)"):
        stable_target(x, 3, 5, x[:1], SCHEDULE, torch.zeros(4))
    with pytest.raises(InputError, match="no noise is mixed there"):
        transition_precision(0, 0, SCHEDULE, x)
    with pytest.raises(InputError, match="weight_cap = 0"):
        TDM(SCHEDULE, weight_cap=0)


@pytest.mark.parametrize(
    ("levels", "says"),
    [(([0, 1], [2, 3]), r"levels t have shape \(2,\)"),
     (([0, 1], [2, 3, 4]), r"levels t have shape \(2,\)"),
     (([0, 1, 2], [3, 4]), r"levels t have shape \(2,\)"),
     (([0, 1, 2], [2, 3, 41]), "t = 41"), ((0.5, 3), "whole numbers")],
)  # fmt: skip
def test_levels_of_other_shapes_or_kinds_are_refused(levels, says):
    x = torch.zeros(3, 2)
    for function in (diffuse, transition_target):
        with pytest.raises(InputError, match=says):
            function(x, *map(torch.tensor, levels), x, SCHEDULE)


def test_where_no_noise_is_no_ratio_exists_and_the_target_is_not_finite():
    x, zero = torch.ones(3, 2), torch.zeros(3).long()
    for function in (density_ratio, mixed_noise):
        with pytest.raises(InputError, match="no noise is mixed there"):
            function(x, x, zero, zero, SCHEDULE)
    for i in (0, 5):
        assert not torch.isfinite(transition_target(x, i, i, x, SCHEDULE)).any()
    assert torch.equal(transition_target(x, 0, 5, x, SCHEDULE), x)
    assert not density_ratio(x, 2 * x, 5, 5, SCHEDULE).any()


@pytest.mark.parametrize("cap", [-1, 0, np.nan, np.inf, "1"])
def test_a_cap_is_a_positive_number(cap):
    with pytest.raises(InputError, match="cap = "):
        density_ratio(torch.zeros(3, 2), torch.zeros(3, 2), 3, 5, SCHEDULE, cap=cap)


def test_a_group_is_named_by_whole_numbers_and_lies_at_one_level():
    x, group = torch.zeros(4, 2), torch.tensor([7, 7, 2, 2])
    for part in (0.5, np.nan, np.inf):
        with pytest.raises(InputError, match="name laws by whole numbers"):
            stable_target(x, 3, 5, x, SCHEDULE, group + part)
    with pytest.raises(InputError, match="one law for samples at several levels i"):
        stable_target(x, torch.tensor([3, 4, 1, 1]), 5, x, SCHEDULE, group)
    level = torch.tensor([3, 3, 1, 1])
    exact = stable_target(x, level, 5, x, SCHEDULE, group)
    for same in (group.char(), group.double()):
        assert torch.equal(stable_target(x, level, 5, x, SCHEDULE, same), exact)


@pytest.mark.parametrize(
    "function",
    [distance, fake_loss, importance_weight, lambda a, b: distance(a, b, "l2"),
     lambda a, b: student_loss(a, b, b), lambda a, b: student_loss(a, b, b, normalize=True),
     lambda a, b: density_ratio(a, b, 3, 5, SCHEDULE),
     lambda a, b: stable_target(a, 3, 5, b, SCHEDULE, torch.zeros(len(a)).long()).sum(1)],
)  # fmt: skip
def test_no_samples_give_no_numbers_and_samples_have_coordinates(function):
    assert function(torch.zeros(0, 2), torch.zeros(0, 2)).shape == (0,)
    for shape in ((3,), (3, 0)):
        with pytest.raises(InputError, match=r"samples have shape .* expected \(B, …\)"):
            function(torch.zeros(shape), torch.zeros(shape))
