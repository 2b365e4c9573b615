"""The teacher's steps on mixtures: their Jacobians, where they are monotone, and hard gates."""

from functools import partial
from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from tdmlib.errors import InputError
from tdmlib.linear import composite, step_operators
from tdmlib.mixtures import GaussianMixture
from tdmlib.nonlinear import MixtureTeacher, amplification, modes_on_circle, random_mixture
from tdmlib.schedules import cosine


def numpy_mixture(components, d, rng, shared=False):
    roots = rng.standard_normal((1 if shared else components, d, d))
    covariances = 0.05 * np.eye(d) + 0.1 * roots @ roots.transpose(0, 2, 1)
    covariances = np.broadcast_to(covariances, (components, d, d)).copy()
    weights = rng.gamma(1, size=components) + 0.01
    return GaussianMixture(weights, 2 * rng.standard_normal((components, d)), covariances)


@settings(max_examples=30)
@given(strategies.schedules(), strategies.seeds)
def test_one_component_is_the_linear_regime(schedule, seed):
    rng = np.random.default_rng(seed)
    lam, mean = rng.gamma(1, size=3) + 1e-3, rng.standard_normal(3)
    teacher = MixtureTeacher(GaussianMixture(np.ones(1), mean[None], np.diag(lam)[None]), schedule)
    z, alpha = rng.standard_normal((5, 3)), schedule.alpha
    moved = alpha[0] * mean + composite(schedule, lam) * (z - alpha[-1] * mean)
    assert np.allclose(teacher.composite(z), moved)
    for t in range(1, schedule.T + 1):
        A = step_operators(schedule, lam)[t - 1]
        assert np.allclose(teacher.jacobian(z, t), np.diag(A))
        assert np.isclose(teacher.lipschitz(t), A.max())
        assert np.allclose(teacher.hard_step(z, t)[0], teacher.step(z, t))


@pytest.mark.parametrize("t", [1, 3, 6])
def test_the_jacobian_is_autograds_and_is_positive_definite(t):
    teacher = MixtureTeacher(random_mixture(4, 3, seed=t), cosine(6))
    z = teacher.marginal(20, t)
    J = teacher.jacobian(z, t)
    whole = torch.autograd.functional.jacobian(lambda z: teacher.step(z, t), z)
    assert torch.allclose(J, whole[range(20), :, range(20)], atol=1e-10)
    assert torch.allclose(J, J.mT, atol=1e-12)
    assert (torch.linalg.eigvalsh(J) > 0).all()


@settings(max_examples=30)
@given(strategies.schedules(), strategies.seeds, st.integers(1, 4))
def test_in_one_dimension_composites_rise_and_hard_ones_have_few_pieces(schedule, seed, components):
    rng = np.random.default_rng(seed)
    teacher = MixtureTeacher(numpy_mixture(components, 1, rng), schedule)
    z = np.linspace(-6, 6, 1001)[:, None]
    assert (np.diff(teacher.composite(z)[:, 0]) > -1e-12).all()
    for mixture, cuts in (
        (teacher.mixture, 2 * components - 2),
        (numpy_mixture(components, 1, rng, shared=True), components - 1),
    ):
        teacher, hard, gates = MixtureTeacher(mixture, schedule), z, []
        for t in range(schedule.T, 0, -1):
            hard, gate = teacher.hard_step(hard, t)
            gates.append(gate)
            assert (np.diff(hard[:, 0]) > -1e-12).all()
        pieces = 1 + np.any(np.diff(gates, axis=1) != 0, axis=0).sum()
        assert pieces <= 1 + schedule.T * cuts


@settings(max_examples=30)
@given(strategies.schedules(), strategies.seeds, st.integers(2, 4), st.booleans())
def test_equal_round_components_are_left_only_for_lighter_ones(schedule, seed, components, equal):
    rng = np.random.default_rng(seed)
    weights = np.ones(components) if equal else rng.gamma(1, size=components) + 0.01
    round_ = np.broadcast_to(rng.gamma(1) * np.eye(2) + 1e-3 * np.eye(2), (components, 2, 2))
    mixture = GaussianMixture(weights, 3 * rng.standard_normal((components, 2)), round_.copy())
    z, gates = 6 * rng.standard_normal((800, 2)), []
    for t in range(schedule.T, 0, -1):
        if schedule.alpha[t] > 1e-9:  # at α = 0 gates do not see z
            z, gate = MixtureTeacher(mixture, schedule).hard_step(z, t)
            gates.append(gate)
    gates = np.array(gates)
    change = np.diff(mixture.weights[gates], axis=0)[np.diff(gates, axis=0) != 0]
    assert change.size == 0 if equal else (change < 0).all()
    found, k = len(np.unique(gates, axis=1).T), len(gates)
    assert found <= (components if equal else comb(components + k - 1, components - 1))


@settings(max_examples=30)
@given(strategies.schedules(), strategies.seeds)
def test_the_slope_stays_below_its_bound_and_two_round_modes_reach_it(schedule, seed):
    rng = np.random.default_rng(seed)
    teacher = MixtureTeacher(numpy_mixture(3, 2, rng, shared=True), schedule)
    pair = np.array([[1.0, 0.5], [-0.4, 0.2]])
    modes = GaussianMixture(np.ones(2), pair, 0.1 * np.stack([np.eye(2)] * 2))
    two = MixtureTeacher(modes, schedule)
    z = 3 * rng.standard_normal((500, 2))
    stays = schedule.alpha[-1] * pair.mean(axis=0, keepdims=True)
    for t in range(schedule.T, 0, -1):
        steepest = np.linalg.eigvalsh(teacher.jacobian(z, t))[:, -1].max()
        assert steepest <= teacher.lipschitz(t) * (1 + 1e-9)
        midway = schedule.alpha[t] * pair.mean(axis=0, keepdims=True)
        steepest = np.linalg.eigvalsh(two.jacobian(midway, t))[0, -1]
        assert np.isclose(steepest, two.lipschitz(t))
        assert np.allclose(stays, midway)  # so the slopes of the composite multiply there
        stays = two.step(stays, t)


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_is_that_of_its_two_parts(seed):
    """As its docstring has it, with an inverse instead of axes; covariances are not round."""
    teacher = MixtureTeacher(numpy_mixture(3, 3, np.random.default_rng(seed), True), cosine(6))
    C, means = teacher.mixture.covariances[0], teacher.mixture.means
    for t in range(1, 7):
        (a, b), alpha, sigma = teacher.coefficients(t), cosine(6).alpha[t], cosine(6).sigma[t]
        left = sigma**2 * np.linalg.inv(alpha**2 * C + sigma**2 * np.eye(3))
        within = np.linalg.eigvalsh(C @ left).max()
        furthest = max(np.linalg.norm(left @ (one - other)) for one in means for other in means)
        expected = a + b * alpha / sigma**2 * (within + furthest**2 / 4)
        assert np.isclose(teacher.lipschitz(t), expected)


def test_large_errors_are_carried_on_as_automatic_differentiation_says():
    m = random_mixture(3, 2, seed=1)
    m = GaussianMixture(m.weights, m.means, m.covariances[:1].expand(3, 2, 2).contiguous())
    teacher = MixtureTeacher(m, cosine(6))
    exact = teacher.marginal(40, 4)
    off = exact + torch.linspace(0.1, 2, 40, dtype=exact.dtype)[:, None] * exact.flip(1)
    found = amplification(teacher, exact, off, 4)
    start = (off - exact).square().sum().sqrt()
    for k, i in enumerate((3, 2, 1, 0)):
        carry = partial(teacher.composite, i=i, j=4)
        whole = torch.autograd.functional.jacobian(carry, exact)[range(40), :, range(40)]
        moved = torch.einsum("bij,bj->bi", whole, off - exact)
        assert np.isclose(found["measured"][k], (carry(off) - carry(exact)).norm() / start)
        assert np.isclose(found["linearised"][k], moved.norm() / start)
        assert np.isclose(found["random"][k], (whole.square().sum() / 40 / 2).sqrt())
    assert not np.allclose(found["measured"], found["linearised"], rtol=0.1)


@pytest.mark.parametrize(("components", "d", "width"), [(3, 2, 0.35), (5, 4, 0.8), (2, 1, 0.1)])
def test_random_mixtures_have_the_promised_moments(components, d, width):
    m = random_mixture(components, d, seed=4, width=width)
    mean, covariance = m.moments()
    assert torch.allclose(mean, torch.zeros(d, dtype=mean.dtype), atol=1e-12)
    assert np.isclose(covariance.trace() / d, 1)
    own = torch.einsum("mii->m", m.covariances) / d
    assert np.isclose(own.mean(), width**2) and len(own.unique()) == components


def test_draws_of_another_level_or_seed_are_independent():
    teacher = MixtureTeacher(random_mixture(3, 2, seed=0), cosine(4))
    noises = []
    for t, seed in ((1, 0), (3, 0), (1, 1), (3, 1)):
        alpha, sigma = cosine(4).alpha[t], cosine(4).sigma[t]
        x = teacher.mixture.sample(10_000, seed)
        noises.append((teacher.marginal(10_000, t, seed) - alpha * x).flatten() / sigma)
    assert np.allclose(np.cov(torch.stack(noises)), np.eye(4), atol=0.04)


def test_points_at_a_level_have_its_moments():
    teacher = MixtureTeacher(random_mixture(3, 2, seed=0), cosine(4))
    z = teacher.marginal(100_000, 2)
    x = teacher.mixture.sample(100_000)
    assert torch.allclose(z.T.cov(), 0.5 * x.T.cov() + 0.5 * torch.eye(2), atol=0.02)
    assert abs(z.mean()) < 0.01


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_modes_on_a_circle_look_the_same_from_each_of_them(turn):
    modes = modes_on_circle(5, 2.0, 0.09, turn)
    x, y = modes.means.T.numpy()
    assert np.allclose(np.hypot(x, y), 2) and np.isclose(np.arctan2(y, x)[0], 2 * np.pi * turn)
    cos, sin = np.cos(2 * np.pi / 5), np.sin(2 * np.pi / 5)
    z = modes.sample(50)
    turned = z @ torch.tensor([[cos, sin], [-sin, cos]], dtype=z.dtype)
    assert torch.allclose(modes.log_density(z), modes.log_density(turned))
    assert torch.allclose(modes.covariances, 0.09 * torch.eye(2, dtype=z.dtype))
    for bad in ((1, 2, 0.1), (3, -1, 0.1), (3, 2, 0), (3, 2, 0.1, np.inf)):
        with pytest.raises(InputError):
            modes_on_circle(*bad)


def test_bad_levels_and_unequal_covariances_are_refused():
    teacher = MixtureTeacher(random_mixture(2, 2, seed=0), cosine(4))
    z = torch.zeros(1, 2, dtype=torch.float64)
    for t in (0, 5, 1.5):
        with pytest.raises(InputError, match="t = "):
            teacher.step(z, t)
    for ask in (teacher.step, teacher.hard_step, teacher.jacobian):
        with pytest.raises(InputError, match="expected"):
            ask(z[0], 1)
    for i, j in ((2, 1), (-1, 2), (0, 5)):
        with pytest.raises(InputError):
            teacher.composite(z, i, j)
    for off, i, says in (
        (z + 1, 0, "i = 0"), (z + 1, 5, "i = 5"), (z[0], 2, "give both"), (z, 2, "no error"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=says):
            amplification(teacher, z, off, i)
    with pytest.raises(InputError, match="common covariance"):
        teacher.lipschitz(1)
    for bad in ((1, 2, 0), (2, 0, 0), (2, 2, -1)):
        with pytest.raises(InputError):
            random_mixture(*bad)
    with pytest.raises(InputError, match="width"):
        random_mixture(2, 2, 0, width=1.0)
