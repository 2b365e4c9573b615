from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tdmlib.denoisers import GaussianDenoiser, Guided
from tdmlib.distill.losses import distance, fake_loss, student_loss
from tdmlib.distill.renoise import (
    density_ratio,
    diffuse,
    importance_weight,
    mixed_noise,
    stable_target,
    transition_precision,
)
from tdmlib.distill.rollout import Rollout, Start
from tdmlib.distill.tdm import TDM
from tdmlib.errors import InputError
from tdmlib.linear import flow_map, marginal_variance
from tdmlib.sampling import trajectory
from tdmlib.schedules import cosine, linear_beta

SCHEDULE = cosine(40)


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def labelled(lam):
    """The optimal denoiser of samples that scatter around their label, x ~ N(cond, λ)."""
    return lambda z, t, cond: GaussianDenoiser(SCHEDULE, lam, cond[:, None])(z, t)


def drawn(method, lam):
    """A rollout of the labelled student, what diffuses it, and its labels."""
    cond = torch.randint(5, (64,), generator=generator(13))
    rollout = method.rollout(labelled(lam), method.start(64, (3,), generator(14)), cond)
    return rollout, method.renoise(64, (3,), generator(15)), cond


levels = st.lists(st.integers(0, 39), min_size=3, max_size=3).map(sorted)


@given(levels)
def test_diffusing_twice_is_diffusing_once(levels):
    (i, m, tau), (x, a, b) = levels, torch.randn(3, 200_000, 1, generator=generator())
    twice = diffuse(diffuse(x, i, m, a, SCHEDULE), m, tau, b, SCHEDULE)
    once = diffuse(x, i, tau, a, SCHEDULE)
    assert torch.allclose((twice * x).mean(), (once * x).mean(), atol=0.02)
    assert torch.allclose(twice.var(), once.var(), atol=0.02)


@given(st.integers(0, 39), st.integers(1, 40))
def test_the_law_of_a_diffused_clean_sample_is_the_forward_process(i, tau):
    i, tau = sorted((i, tau))
    x, eps, noise = torch.randn(3, 5, 2, generator=generator(1))
    x_i = SCHEDULE.alpha[i] * x + SCHEDULE.sigma[i] * eps
    x_tau = diffuse(x_i, i, tau, noise, SCHEDULE)
    if tau > 0:
        mixed = mixed_noise(eps, noise, i, tau, SCHEDULE)
        rebuilt = SCHEDULE.alpha[tau] * x + SCHEDULE.sigma[tau] * mixed
        assert torch.allclose(x_tau, rebuilt)
        shares = mixed_noise(torch.ones(1, 1), torch.zeros(1, 1), i, tau, SCHEDULE) ** 2
        shares += mixed_noise(torch.zeros(1, 1), torch.ones(1, 1), i, tau, SCHEDULE) ** 2
        assert torch.allclose(shares, torch.ones(1, 1))  # unit variance


def test_diffusing_backward_or_off_the_grid_is_refused():
    x, low, high = torch.zeros(2, 3), torch.tensor([3, 5]), torch.tensor([4, 4])
    with pytest.raises(ValueError, match="tau ≥ i"):
        diffuse(x, low, high, x, SCHEDULE)
    for i, tau in ((-1, 3), (3, 41)):
        with pytest.raises(InputError, match="0 … 40"):
            diffuse(x, i, tau, x, SCHEDULE)
    with pytest.raises(InputError, match="nothing is left"):
        diffuse(x, 40, 40, x, SCHEDULE)
    for i, tau, says in ((5, 4, "tau ≥ i"), (40, 40, "nothing is left"), (0, 0, "no noise")):
        with pytest.raises(InputError, match=says):
            mixed_noise(x, x, i, tau, SCHEDULE)


def step_student(b, schedule=SCHEDULE):
    """The linear student whose step from level t to s multiplies by b[t]: x̂ solves for it."""

    lower = dict(zip(b, [0, *b], strict=False))
    size = range(schedule.T + 1)
    factors = torch.stack([torch.as_tensor(b.get(t, 0.0)) for t in size])
    below = torch.tensor([lower.get(t, 0) for t in size])

    def student(z, t, cond=None):
        (alpha, sigma), (alpha_s, sigma_s) = schedule.at(t, z), schedule.at(below[t], z)
        ratio = sigma_s / sigma
        return (factors[t][:, None] - ratio) * z / (alpha_s - alpha * ratio)

    return student


@pytest.mark.parametrize("interval", ["separate", "full"])
@pytest.mark.parametrize("lam", [0.3, 4.0])
def test_the_student_gradient_is_that_of_the_kullback_leibler_divergence(lam, interval):
    """One dimension, K = 2, exact fake score: E[gradient] is a positive multiple of dKL/db."""
    method = TDM(SCHEDULE, steps=2, interval=interval, metric="l2", margin=5)
    q = torch.from_numpy(marginal_variance(SCHEDULE, lam))
    for b1 in (0.7, 1.3):
        b = {20: torch.tensor(b1, requires_grad=True), 40: torch.tensor(0.9)}
        batch, k = 60_000, 0  # the last step, from level 20 to 0
        start = Start(torch.randn(batch, 1, generator=generator(3)), torch.full((batch,), k))
        renoise = method.renoise(batch, (1,), generator(4))
        student_variance = (b1 * 0.9) ** 2  # Var(x_0), from N(0, 1)
        fake = GaussianDenoiser(SCHEDULE, student_variance)  # exact: x_0 is Gaussian
        teacher = GaussianDenoiser(SCHEDULE, lam)
        rollout = method.rollout(step_student(b), start)
        loss, _ = method.student_objective(teacher, fake, rollout, renoise)
        (ours,) = torch.autograd.grad(loss.mean(), b[20])
        tau = method.tau(rollout, renoise.u)
        p = torch.from_numpy(marginal_variance(SCHEDULE, student_variance))[tau]
        # dKL/db = ½(1/q − 1/p) dp/db; clean predictions carry the factor σ²/α, x_0 = x̂ another α
        slope = 0.5 * (1 / q[tau] - 1 / p) * 2 * b1 * 0.9**2
        sigma = SCHEDULE.at(tau, renoise.noise)[1][:, 0]
        exact = (2 * slope * sigma**2).mean()
        assert torch.sign(ours) == torch.sign(exact)
        assert torch.isclose(ours, exact, rtol=0.05)


@pytest.mark.parametrize("K", [1, 2, 4])
@pytest.mark.parametrize("lam", [0.3, 4.0])
def test_the_fixed_point_is_the_flow_map_without_contraction(K, lam):
    method = TDM(SCHEDULE, steps=K, metric="l2", margin=1)
    grid = method.grid
    b = {t: float(flow_map(SCHEDULE, lam, s, t)) for s, t in pairwise(grid)}
    start = method.start(500, (1,), generator(4))
    rollout = method.rollout(step_student(b), start)
    for level, upper in pairwise(grid):
        rows, factor = rollout.i == level, float(flow_map(SCHEDULE, lam, level))
        assert torch.allclose(rollout.x_i[rows], factor * start.noise[rows])
        for tau in range(level + 1, upper + 1):  # the law at τ is the teacher's, N(0, ‖v_τ‖²)
            carried, fresh = torch.tensor([[factor], [0.0]]), torch.tensor([[0.0], [1.0]])
            variance = (diffuse(carried, level, tau, fresh, SCHEDULE) ** 2).sum()
            assert np.isclose(variance, marginal_variance(SCHEDULE, lam)[tau])


@pytest.mark.parametrize("interval", ["separate", "full"])
@pytest.mark.parametrize("target", ["transition", "denoised"])
def test_what_each_fake_target_regresses(target, interval):
    """Transition: the exact score of the diffused trajectory point. Denoised: not that one."""
    method = TDM(SCHEDULE, steps=2, interval=interval, fake_target=target, margin=4)
    batch, b = 400_000, {20: 0.8, 40: 1.1}
    noise, ones = torch.randn(batch, 1, generator=generator(5)), torch.ones(batch).long()
    rollout = method.rollout(step_student(b), Start(noise, ones))
    tau, renoise = torch.full((batch,), 27), method.renoise(batch, (1,), generator(6))
    x_tau = diffuse(rollout.x_i, rollout.i, tau, renoise.noise, SCHEDULE)
    y = method.fake_regression_target(rollout, renoise, tau)
    slope = (x_tau * y).mean() / (x_tau**2).mean()
    alpha, sigma = SCHEDULE.alpha[27], SCHEDULE.sigma[27]
    exact = (1 - sigma**2 / x_tau.var()) / alpha
    if target == "transition":
        assert torch.isclose(slope, exact, rtol=0.03)
    else:
        assert abs(slope - exact) > 0.1 * abs(exact)


def test_on_the_last_step_both_targets_are_the_clean_sample():
    start = Start(torch.randn(50, 3, generator=generator(6)), torch.zeros(50).long())
    student = GaussianDenoiser(SCHEDULE, 0.5)
    for target in ("transition", "denoised"):
        method = TDM(SCHEDULE, fake_target=target)
        rollout = method.rollout(student, start)
        renoise = method.renoise(50, (3,), generator(7))
        y = method.fake_regression_target(rollout, renoise, method.tau(rollout, renoise.u))
        assert torch.allclose(y, rollout.x_hat)
        assert torch.allclose(rollout.x_i, rollout.x_hat)


def test_the_rollout_is_the_samplers_trajectory():
    method, student = TDM(SCHEDULE, steps=[40, 25, 11, 4]), labelled(2.5)
    start, cond = method.start(64, (3,), generator(7)), torch.arange(64) % 7
    rollout = method.rollout(student, start, cond)
    states = {t: z for t, z, _ in trajectory(student, start.noise, method.steps, SCHEDULE, cond)}
    assert set(rollout.i.tolist()) == {0, 4, 11, 25}
    for row, (i, upper) in enumerate(zip(rollout.i.tolist(), rollout.upper.tolist(), strict=True)):
        assert torch.allclose(rollout.x_i[row], states[i][row])
        assert method.grid.index(upper) == method.grid.index(i) + 1


def test_only_the_last_step_is_differentiated():
    class Student(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(41))

        def forward(self, z, t, cond=None):
            return self.w[t][:, None] * z

    student, method = Student(), TDM(SCHEDULE)
    noise = torch.randn(1, 2, generator=generator(8))
    for k, upper in enumerate(method.grid[1:]):
        rollout = method.rollout(student, Start(noise, torch.tensor([k])))
        (slope,) = torch.autograd.grad(rollout.x_i.sum(), student.w)
        assert slope.nonzero().tolist() == [[upper]]


@given(
    st.sampled_from(["separate", "full"]), st.integers(1, 10), st.integers(1, 8),
    st.floats(0.1, 20),
)  # fmt: skip
def test_tau_lies_in_its_interval_and_reaches_both_ends(interval, margin, K, shift):
    margin = min(margin, 40 // K - 1)  # one less, for τ = T alone is refused
    method = TDM(SCHEDULE, steps=K, interval=interval, margin=margin, shift=shift)
    for k, (i, upper) in enumerate(zip(method.grid, method.grid[1:], strict=False)):
        ends = Rollout(None, None, None, torch.full((2,), i), torch.full((2,), upper))
        low, high = method.tau(ends, torch.tensor([0.0, 1 - 1e-12])).tolist()
        assert low == i + margin
        assert high == (upper if interval == "separate" else 40), k


def test_a_shift_multiplies_the_odds_that_tau_lies_higher():
    """u'/(1 − u') = shift · u/(1 − u), so that the odds of τ at or below a level are divided."""
    ends = torch.full((100_000,), 500)
    rollout = Rollout(None, None, None, torch.zeros_like(ends), ends)
    u = (torch.arange(len(ends)) + 0.5).double() / len(ends)
    even = TDM(cosine(1000), steps=2).tau(rollout, u)
    leaning = TDM(cosine(1000), steps=2, shift=3.0).tau(rollout, u)
    assert torch.equal(even, 1 + (500 * u).long())
    for level in (50, 250, 450):
        odds, fewer = ((tau <= level).double().mean().logit() for tau in (even, leaning))
        assert (odds - fewer).exp() == pytest.approx(3, rel=1e-3)


def test_the_same_seed_is_the_same_update_and_rows_are_independent():
    method, student = TDM(SCHEDULE), GaussianDenoiser(SCHEDULE, 2.0)
    one, two = (method.start(8, (2,), generator(9)) for _ in range(2))
    assert torch.equal(one.noise, two.noise) and torch.equal(one.step, two.step)
    assert one.step.bincount().tolist() == [2, 2, 2, 2]
    half = method.rollout(student, one[4:])
    assert torch.allclose(half.x_i, method.rollout(student, two).x_i[4:])


def test_student_loss_values():
    x, phi, psi, free = torch.randn(4, 3, 2, 5, generator=generator(10))
    gap = psi - phi
    d = 10
    huber = (gap.flatten(1).pow(2).sum(1) + 0.00054**2 * d).sqrt() - 0.00054 * d**0.5
    assert torch.allclose(student_loss(x, phi, psi), huber)
    each = ((gap**2 + 1e-6).sqrt() - 1e-3).flatten(1).mean(1)
    assert torch.allclose(student_loss(x, phi, psi, metric="pseudo_huber_elementwise"), each)
    l2 = gap.pow(2).flatten(1).mean(1)
    assert torch.allclose(student_loss(x, phi, psi, metric="l2"), l2)
    assert torch.allclose(student_loss(x, phi, psi, c=0.3), (d * l2 + 0.09).sqrt() - 0.3)
    each = ((gap**2 + 0.09).sqrt() - 0.3).flatten(1).mean(1)
    value = student_loss(x, phi, psi, metric="pseudo_huber_elementwise", c=0.3)
    assert torch.allclose(value, each)
    guided = phi + 3.5 * (phi - free)
    value = student_loss(x, phi, psi, metric="l2", cfg=4.5, x_uncond=free)
    assert torch.allclose(value, (psi - guided).pow(2).flatten(1).mean(1))
    normal = student_loss(x, phi, psi, metric="l2", cfg=4.5, x_uncond=free, normalize=True)
    assert torch.allclose(normal, value / (x - guided).abs().flatten(1).mean(1))
    wrapped = Guided(lambda z, t, c=None: phi if c is not None else free, 4.5)(x, 0, 1)
    assert torch.allclose(wrapped, guided)


@pytest.mark.parametrize(
    "choice",
    [{}, {"c": 0.3}, {"metric": "pseudo_huber_elementwise", "c": 0.3}, {"metric": "l2"},
     {"metric": "l2", "normalize": True}],
)  # fmt: skip
def test_the_student_objective_compares_conditional_predictions(choice):
    method, teacher, fake = TDM(SCHEDULE, **choice), labelled(0.3), labelled(0.8)
    rollout, renoise, cond = drawn(method, 0.5)
    loss, logs = method.student_objective(teacher, fake, rollout, renoise, cond)
    x_tau, tau = method.diffused(rollout, renoise)
    phi, psi = teacher(x_tau, tau, cond), fake(x_tau, tau, cond)
    assert torch.allclose(loss, student_loss(rollout.x_hat, phi, psi, **choice))
    assert torch.allclose(logs["score_gap"], (phi - psi).norm(dim=1))


METRICS = ("pseudo_huber", "pseudo_huber_elementwise", "l2")


@pytest.mark.parametrize("matched", ["noisy", "clean"])
@pytest.mark.parametrize("metric", METRICS)
def test_the_objective_is_a_distance_to_a_target_without_gradient(metric, matched):
    """x̂ to sg(x̂ + x̂_φ − x̂_ψ), both scores seen at x_i, or at x̂, diffused by hand."""
    method, teacher, fake = TDM(SCHEDULE, metric=metric, matched=matched), 0.3, 0.8
    rollout, renoise, cond = drawn(method, torch.tensor(0.5, requires_grad=True))
    loss, _ = method.student_objective(labelled(teacher), labelled(fake), rollout, renoise, cond)
    (slope,) = torch.autograd.grad(loss.sum(), rollout.x_hat, retain_graph=True)

    x, tau = rollout.x_hat.detach().requires_grad_(), method.tau(rollout, renoise.u)
    a, b = (np.pi / 80 * level[:, None] for level in (rollout.i, tau))
    at, a = (x, 0 * a) if matched == "clean" else (rollout.x_i, a)
    scale = torch.cos(b) / torch.cos(a)
    x_tau = scale * at + (torch.sin(b) ** 2 - (scale * torch.sin(a)) ** 2).sqrt() * renoise.noise
    phi, psi = (labelled(lam)(x_tau.detach(), tau, cond) for lam in (teacher, fake))
    expected = distance(x, (x + phi - psi).detach(), metric)
    assert torch.allclose(loss, expected)
    assert torch.allclose(slope, torch.autograd.grad(expected.sum(), x)[0])


@pytest.mark.parametrize("metric", METRICS)
def test_consistency_and_score_distillation_share_one_distance(metric):
    """d(x, sg(y)): y is the same network's answer at a cleaner level, or x moved by two scores."""
    x, y, phi, psi = torch.randn(4, 5, 3, 2, generator=generator(16))
    w = torch.ones((), requires_grad=True)
    both = distance(w * x, w * y, metric)
    assert torch.allclose(both, student_loss(x, y, x, metric=metric))
    assert torch.allclose(student_loss(x, phi, psi, metric=metric), distance(phi, psi, metric))
    (slope,) = torch.autograd.grad(both.sum(), w)
    gap, d = x - y, 6
    direction = {  # of the distance by x; y is not differentiated
        "l2": 2 * gap / d,
        "pseudo_huber": gap / (gap.square().sum((1, 2), True) + 0.00054**2 * d).sqrt(),
        "pseudo_huber_elementwise": gap / (gap**2 + 1e-6).sqrt() / d,
    }[metric]
    assert torch.isclose(slope, (direction * x).sum())
    assert (distance(x, x, metric) == 0).all()
    with pytest.raises(InputError, match="target has shape"):
        distance(x, y[:1], metric)


def test_student_loss_pulls_from_the_fake_to_the_teacher():
    x = torch.zeros(2, 3, requires_grad=True)
    teacher, fake = torch.ones(2, 3), -torch.ones(2, 3)
    for metric in ("pseudo_huber", "pseudo_huber_elementwise", "l2"):
        (slope,) = torch.autograd.grad(student_loss(x, teacher, fake, metric=metric).sum(), x)
        assert (slope < 0).all()  # descent raises x̂, toward the teacher
    (slope,) = torch.autograd.grad(student_loss(x, teacher, fake).sum(), x)
    assert torch.allclose(slope.norm(dim=1), torch.ones(2), atol=1e-6)  # pseudo-Huber's unit slope


def test_fake_loss_values():
    x, y = torch.randn(2, 4, 3, generator=generator(11))
    snr, weight = torch.tensor([0.1, 5, 7, 100.0]), torch.tensor([1, 2, 0.5, 1.0])
    square = (x - y).pow(2).mean(1)
    assert torch.allclose(fake_loss(x, y), square)
    expected = square * torch.tensor([0.1, 5, 5, 5]) * weight
    assert torch.allclose(fake_loss(x, y, snr=snr, weight=weight), expected)


@pytest.mark.parametrize(
    ("matched", "target", "weight"),
    [("noisy", "denoised", "none"), ("noisy", "denoised", "script"), ("clean", "denoised", "none"),
     ("clean", "denoised", "script"), ("clean", "transition", "none"),
     ("noisy", "transition", "none"), ("noisy", "transition", "precision"),
     ("clean", "transition", "precision")],
)  # fmt: skip
def test_the_fake_objective_from_its_definition(matched, target, weight):
    """ε_mix solves x_τ = α_τ x̂ + σ_τ ε_mix; where x̂ itself is diffused it is ε, of weight one."""
    choices = dict(matched=matched, fake_target=target, weight=weight)
    method = TDM(SCHEDULE, snr_cap=2.0, **choices)
    rollout, renoise, cond = drawn(method, torch.tensor(0.5, requires_grad=True))
    loss, _ = method.fake_objective(labelled(0.8), rollout, renoise, cond)
    assert rollout.x_hat.requires_grad and not loss.requires_grad

    tau = method.tau(rollout, renoise.u)
    x_hat, x_i, noise = (v.detach().numpy() for v in (rollout.x_hat, rollout.x_i, renoise.noise))
    a, b = (np.pi / 80 * level.numpy()[:, None] for level in (rollout.i, tau))
    if matched == "clean":
        a, x_i = 0 * a, x_hat
    scale = np.cos(b) / np.cos(a)
    beta = np.sqrt(np.sin(b) ** 2 - (scale * np.sin(a)) ** 2)
    x_tau = scale * x_i + beta * noise
    mixed = (x_tau - np.cos(b) * x_hat) / np.sin(b)
    snr = np.tan(b[:, 0]) ** -2
    assert 0.1 < np.mean(snr > 2) < 0.9
    if weight == "precision":
        snr = ((np.cos(a) * beta)[:, 0] / np.sin(b[:, 0]) ** 2) ** 2
    y = x_hat
    if target == "transition":
        y = x_i / np.cos(a) - scale * np.sin(a) ** 2 / (np.cos(a) * beta) * noise
    gap = labelled(0.8)(torch.from_numpy(x_tau), tau, cond).numpy() - y
    expected = np.minimum(snr, 2) * (gap**2).mean(1)
    if weight == "script":
        expected *= np.exp(-(mixed**2).mean(1) / 2) / np.exp(-(noise**2).mean(1) / 2)
    assert np.allclose(loss, expected)


@pytest.mark.parametrize("interval", ["separate", "full"])
def test_the_stable_target_of_the_method_averages_over_points_of_one_law(interval):
    """One K, step, label: apart from others in the batch it is the same, and no row is alone."""
    choices = dict(steps_aware="neither", fake_target="stable", weight="precision")
    method = TDM(SCHEDULE, counts=(1, 2), interval=interval, **choices)
    cond = torch.randint(2, (64,), generator=generator(13))
    rollout = method.rollout(labelled(0.5), method.start(64, (3,), generator(14)), cond)
    renoise = method.renoise(64, (3,), generator(15))
    tau = method.tau(rollout, renoise.u)
    y = method.fake_regression_target(rollout, renoise, tau, cond)
    seen = 0
    for K, i, label in ((1, 0, 0), (2, 0, 0), (2, 20, 1)):
        rows = (rollout.count == K) & (rollout.i == i) & (cond == label)
        x_i, at = rollout.x_i[rows], (rollout.i[rows], tau[rows])
        alone = stable_target(x_i, *at, renoise.noise[rows], SCHEDULE, torch.zeros(len(x_i)))
        wide = method.fake_regression_target(rollout, renoise, tau, cond[:, None])
        assert torch.equal(wide, y)
        assert len(x_i) > 3 and torch.allclose(y[rows], alone)
        seen += len(x_i)
    assert seen < 64 and method.whole_batch and not TDM(SCHEDULE).whole_batch

    x_tau, tau = method.diffused(rollout, renoise)  # and the loss takes the same
    factor = transition_precision(rollout.i, tau, SCHEDULE, x_tau).clamp_max(method.snr_cap)
    loss, _ = method.fake_objective(labelled(0.5), rollout, renoise, cond)
    gap = (labelled(0.5)(x_tau, tau, cond) - y).square().mean(1)
    assert torch.allclose(loss, gap * factor)

    clean = replace(method, matched="clean")
    y = clean.fake_regression_target(rollout, renoise, tau, cond)
    rows = (rollout.count == 2) & (rollout.i == 0) & (cond == 0)
    at = torch.zeros_like(tau[rows]), tau[rows]
    group = torch.zeros(len(at[0]))
    alone = stable_target(rollout.x_hat[rows], *at, renoise.noise[rows], SCHEDULE, group)
    assert torch.allclose(y[rows], alone) and not torch.allclose(alone, rollout.x_hat[rows])


def test_the_scripts_weight_is_a_ratio_of_exponentials_of_means():
    mixed, noise = np.random.default_rng(0).normal(size=(2, 4, 3, 2))
    top, bottom = (np.exp(-0.5 * (v**2).mean((1, 2))) for v in (mixed, noise))
    weight = importance_weight(torch.from_numpy(mixed), torch.from_numpy(noise))
    assert np.allclose(weight, top / bottom)


def test_the_scripts_weight_hardly_varies_in_high_dimension():
    d, i, tau = 16384, 10, 20
    eps, noise = torch.randn(2, 400, d, generator=generator(12))
    eps /= eps.pow(2).mean(1, keepdim=True).sqrt()  # given mean ε̂² = 1
    weight = importance_weight(mixed_noise(eps, noise, i, tau, SCHEDULE), noise)
    ratio = np.tan(np.pi * i / 80) / np.tan(np.pi * tau / 80)  # a = (α_τ σ_i)/(α_i σ_τ)
    assert weight.std() < 0.008
    assert np.isclose(weight.std(), ratio / d**0.5, rtol=0.15)


def test_the_published_settings():
    T = 999  # timesteps of the script are levels where the clean one is left out
    schedule = linear_beta(1000, set_alpha_to_one=False)
    script, paper = TDM.script(schedule), TDM.paper(schedule)
    assert script.grid == (0, 224, 449, 674, 899) and schedule.sigma[0] == pytest.approx(0.01)
    ends = Rollout(None, None, None, *torch.tensor([[0, 0, 224, 224], [224, 224, 449, 449]]))
    u = torch.tensor([0, 1 - 1e-12, 0, 1 - 1e-12])
    assert script.tau(ends, u).tolist() == [20, 213, 225, 438]
    assert (script.metric, script.normalize) == ("pseudo_huber_elementwise", True)
    assert (script.weight, script.snr_cap, script.interval) == ("script", 5, "separate")
    assert (script.fake_target, script.matched) == ("denoised", "noisy")
    assert paper.grid == tuple(round(i * T / 4) for i in range(5))
    assert (paper.metric, paper.normalize, paper.weight) == ("pseudo_huber", False, "exact")
    assert TDM.paper(schedule, steps=2, weight_cap=10) == TDM(
        schedule, steps=2, weight="exact", weight_cap=10
    )
    assert TDM.script(SCHEDULE, metric="l2").grid == (0, 9, 18, 27, 36)
    assert TDM.script(SCHEDULE, steps=2, metric="l2").metric == "l2"
    with pytest.raises(InputError, match="K = 30"):
        TDM.script(SCHEDULE, steps=30)
    with pytest.raises(InputError, match="T = 1: "):
        TDM.script(cosine(1), steps=1)
    assert TDM.script(cosine(2), steps=1).grid == (0, 1)


@pytest.mark.parametrize(
    ("choice", "says"),
    [({"metric": "huber"}, "pseudo_huber, "), ({"c": 0}, "c = 0"), ({"snr_cap": 0}, "snr_cap = 0"),
     ({"shift": 0}, "shift = 0"), ({"shift": 1e39}, "shift = 1e"),
     ({"c": "1"}, "c = '1'"), ({"snr_cap": np.nan}, "snr_cap = nan"), ({"margin": 1.5}, "margin"),
     ({"snr_cap": None}, "snr_cap = None"),
     ({"steps": 41}, "1 … 40"), ({"margin": 0}, "margin"), ({"margin": 11}, "1 … 10"),
     ({"interval": "both"}, "separate, full"), ({"fake_target": "x"}, "transition, stable"),
     ({"matched": "x"}, "noisy, clean"), ({"divergence": "js"}, "kl, fisher"),
     ({"weight": True}, "script, exact, precision"), ({"headroom": 10}, "0 … 9"),
     ({"lowest": 11}, "1 … 10"), ({"weight_cap": -1}, "weight_cap = -1"),
     ({"weight_cap": 10.0}, 'weight = "exact" alone'), ({"counts": 4}, "counts = 4"),
     ({"weight": "exact", "fake_target": "transition"}, 'wants "none" or "precision"'),
     ({"weight": "script", "fake_target": "stable"}, 'wants "none" or "precision"'),
     ({"fake_target": "stable", "guidance": (1, 3)}, "points of one law"),
     ({"fake_target": "stable", "landing": "random"}, "points of one law"),
     ({"weight": "precision"}, 'the denoised target wants "none" or "script" or "exact"'),
     ({"normalize": "yes"}, "True or False"), ({"guidance": 2.0}, "guidance = 2.0")],
)  # fmt: skip
def test_bad_choices_are_refused(choice, says):
    with pytest.raises(InputError, match=says):
        TDM(SCHEDULE, **choice)


@pytest.mark.parametrize("interval", ["separate", "full"])
@pytest.mark.parametrize(
    "choice",
    [{"steps": 40}, {"margin": 10}, {"steps": 1, "lowest": 40}, {"steps": [40, 39]},
     {"counts": (1, 40)}, {"steps": 20, "margin": 2}],
)  # fmt: skip
def test_a_step_that_is_shown_pure_noise_alone_is_refused(choice, interval):
    with pytest.raises(InputError, match="no τ but T, where alpha_T = 0"):
        TDM(SCHEDULE, interval=interval, **choice)
    seeing = cosine(41).sub(range(41))  # α_T > 0
    assert TDM(seeing, interval=interval, **choice).schedule.T == 40
    TDM(SCHEDULE, interval=interval, margin=9)


def test_bad_metrics_and_missing_guidance_are_refused():
    x = torch.zeros(1, 2)
    with pytest.raises(InputError, match="pseudo_huber"):
        student_loss(x, x, x, metric="huber")
    with pytest.raises(InputError, match="x_uncond"):
        student_loss(x, x, x, cfg=2.0)


@pytest.mark.parametrize("bad", [0, -1.0, np.nan, np.inf, "1"])
def test_losses_want_positive_constants_and_a_finite_guidance(bad):
    x = torch.zeros(2, 3)
    for metric in ("pseudo_huber", "pseudo_huber_elementwise", "l2"):
        with pytest.raises(InputError, match="c = "):
            student_loss(x, x, x, metric=metric, c=bad)
    with pytest.raises(InputError, match="snr_cap = "):
        fake_loss(x, x, snr=torch.ones(2), snr_cap=bad)
    if bad not in (0, -1.0):
        with pytest.raises(InputError, match="cfg = "):
            student_loss(x, x, x, cfg=bad, x_uncond=x)


@pytest.mark.parametrize("metric", ["pseudo_huber", "pseudo_huber_elementwise"])
@pytest.mark.parametrize("c", [1e-18, 1e18])
def test_constants_at_the_ends_of_their_range_keep_losses_finite_in_single_precision(metric, c):
    x = torch.zeros(2, 3, dtype=torch.float32, requires_grad=True)
    for far in (0.0, 1.0):
        target = torch.full_like(x, far)
        loss = student_loss(x, x.detach(), x.detach() - target, metric=metric, c=c)
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        assert loss.isfinite().all() and gradient.isfinite().all()
    for beyond in (c / 10, c * 10):
        if not 1e-18 <= beyond <= 1e18:
            with pytest.raises(InputError, match=r"c = .* within 1e-18 … 1e.18"):
                student_loss(x, x, x, metric=metric, c=beyond)
            with pytest.raises(InputError, match="c = "):
                TDM(SCHEDULE, metric=metric, c=beyond)


def test_bounds_on_weights_are_numbers_of_single_precision():
    x, one = torch.zeros(2, 3, dtype=torch.float32), torch.ones(2, dtype=torch.float32)
    assert fake_loss(x, x, snr=one, snr_cap=1e30).isfinite().all()
    i, tau = torch.tensor([0, 3]), torch.tensor([5, 9])
    assert density_ratio(x, x, i, tau, SCHEDULE, cap=1e30).isfinite().all()
    for refused in (
        lambda: fake_loss(x, x, snr=one, snr_cap=1e31),
        lambda: density_ratio(x, x, i, tau, SCHEDULE, cap=1e31),
        lambda: TDM(SCHEDULE, snr_cap=1e31),
        lambda: TDM(SCHEDULE, weight="exact", weight_cap=1e31),
    ):
        with pytest.raises(InputError, match=r"cap = 1e.31: must be a finite number within 0 … 1e"):
            refused()


@pytest.mark.parametrize("u", [-0.1, 1.0, np.nan])
def test_levels_are_drawn_from_numbers_below_one(u):
    rollout = Rollout(None, None, None, *torch.tensor([[0, 10], [10, 20]]))
    with pytest.raises(InputError, match=r"u: numbers must lie in \[0, 1\)"):
        TDM(SCHEDULE).tau(rollout, torch.tensor([0.5, u]))


@pytest.mark.parametrize("levels", [[40, 11], (40, 11), np.array([40, 11]), torch.tensor([40, 11])])
def test_a_method_can_be_hashed_and_compared(levels):
    method = TDM(SCHEDULE, steps=levels)
    assert method == TDM(SCHEDULE, steps=(40, 11)) and hash(method) == hash(
        TDM(SCHEDULE, steps=(40, 11))
    )
    assert method.grid == (0, 11, 40)
    assert hash(TDM(SCHEDULE, steps=4)) == hash(TDM(SCHEDULE))


def test_shapes_that_broadcasting_would_hide_are_refused():
    rollout = Rollout(None, None, None, *torch.tensor([[0, 10], [10, 20]]))
    for shape in ((), (1,), (3,), (2, 1)):
        with pytest.raises(InputError, match=r"u has shape .* expected \(2,\)"):
            TDM(SCHEDULE).tau(rollout, torch.zeros(shape))
    x, column, row = torch.zeros(4, 2), torch.zeros(4, 1), torch.zeros(1, 2)
    for wrong in (column, row):
        for f in (diffuse, mixed_noise):
            args = (x, 3, 5, wrong) if f is diffuse else (x, wrong, 3, 5)
            with pytest.raises(InputError, match=r"noise has shape .* expected \(4, 2\)"):
                f(*args, SCHEDULE)
        with pytest.raises(InputError, match=r"noise has shape .* expected \(4, 2\)"):
            importance_weight(x, wrong)
        with pytest.raises(InputError, match="expected \\(4, 2\\)"):
            student_loss(x, wrong, x)
        with pytest.raises(InputError, match="x_uncond has shape"):
            student_loss(x, x, x, cfg=2.0, x_uncond=wrong)
        with pytest.raises(InputError, match="expected \\(4, 2\\)"):
            fake_loss(x, wrong)
        for name in ("snr", "weight"):
            with pytest.raises(InputError, match=f"{name} has shape .* expected \\(4,\\)"):
                fake_loss(x, x, **{name: wrong})
