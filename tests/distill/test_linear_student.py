import numpy as np
import pytest
import torch

from tdmlib.denoisers import GaussianDenoiser
from tdmlib.distill.linear_student import LinearDenoiser, best_fake, carry_out, match, train
from tdmlib.distill.tdm import TDM
from tdmlib.errors import InputError
from tdmlib.linear import LinearTDM, canonical_plan, marginal_variance, residual
from tdmlib.schedules import cosine

ZERO, ONE = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
VARIANCES = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)


def test_gradient_descent_is_geometric():
    path = train(2 * ONE, 0.5 * ONE, VARIANCES, lr=0.01, updates=50)
    share = (1 - 2 * 0.01 * VARIANCES) ** torch.arange(51)[:, None]
    assert torch.allclose((path - 0.5) / 1.5, share, rtol=1e-12)


def test_small_steps_follow_the_gradient_flow():
    schedule, lam, s = cosine(6), np.array([0.2, 1.0, 3.0]), 0.8
    variance = torch.from_numpy(marginal_variance(schedule, lam)[1:])
    gap = []
    for updates in (500, 1000):
        left = train(ONE, ZERO, variance, s / updates, updates)[-1].numpy()
        gap.append(np.abs(left - residual(schedule, lam, s)))
    assert (gap[1] < 1e-3).all()
    assert np.allclose(gap[0] / gap[1], 2, rtol=0.01)  # Euler's method: first order


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_batches_follow_the_flow_within_their_noise(seed):
    schedule, level, s, updates, batch = cosine(8), 5, 1.0, 1000, 64
    lam = np.array([0.2, 1.0, 3.0])
    variance = torch.from_numpy(marginal_variance(schedule, lam)[level])
    generator = torch.Generator().manual_seed(seed)
    path = train(ONE, ZERO, variance, s / updates, updates, batch=batch, generator=generator)
    flow = residual(schedule, lam, s)[level - 1]
    spread = np.sqrt(8 * updates / batch) * s / updates * variance.numpy()
    assert (np.abs(np.log(path[-1].numpy() / flow)) < 4 * spread).all()


def test_random_batches_keep_the_mean_and_spread_as_computed():
    students, lr, updates, batch, V = 20_000, 0.05, 40, 8, 1.5
    generator = torch.Generator().manual_seed(0)
    path = train(ONE.expand(students), ZERO, V * ONE, lr, updates, batch=batch, generator=generator)
    mean, second = (1 - 2 * lr * V) ** updates, ((1 - 2 * lr * V) ** 2 + 8 * (lr * V) ** 2 / batch)
    last = path[-1]
    assert abs(last.mean() - mean) < 4 * last.std() / students**0.5
    square = last.square()
    assert abs(square.mean() - second**updates) < 4 * square.std() / students**0.5


def test_momentum_lengthens_every_step():
    s, updates, beta = 1.0, 4000, 0.5
    left = train(ONE, ZERO, VARIANCES, s * (1 - beta) / updates, updates, momentum=beta)[-1]
    assert torch.allclose(left, torch.exp(-2 * s * VARIANCES), rtol=0.02)


def test_bad_counts_are_refused():
    with pytest.raises(InputError, match="updates"):
        train(ONE, ZERO, ONE, 0.1, -1)
    with pytest.raises(InputError, match="batch"):
        train(ONE, ZERO, ONE, 0.1, 1, batch=0)
    with pytest.raises(InputError, match="updates = 0"):
        carry_out(canonical_plan("vanilla", 4), cosine(4), 1.0, 1.0, 0)
    with pytest.raises(InputError, match="λ"):
        carry_out(canonical_plan("vanilla", 4), cosine(4), -1.0, 1.0, 10)
    with pytest.raises(InputError, match="T = 4"):
        carry_out(canonical_plan("vanilla", 5), cosine(4), 1.0, 1.0, 10)


def linear_problem(lam, factors, **choices):
    """The closed form and the method, with a student on the levels of K = 4."""
    problem = LinearTDM(cosine(40), lam, (4,), **choices)
    method = TDM(cosine(40), steps=4, metric="l2", **choices)
    b = problem.matched_student() * factors
    slopes = torch.zeros(41)
    slopes[[u for _, u in problem.steps]] = torch.from_numpy(problem.predictions(b)).float()
    return problem, method, b, LinearDenoiser(slopes)


CHOICES = [
    dict(fake_target="transition"),
    dict(fake_target="denoised"),
    dict(fake_target="denoised", interval="full"),
    dict(matched="clean"),
]


@pytest.mark.parametrize(
    ("choices", "weight"),
    [(choices, "none") for choices in CHOICES] + [(choices, "script") for choices in CHOICES[1:]],
)
def test_the_best_fake_score_is_the_closed_form(choices, weight):
    problem, method, b, student = linear_problem(3.0, [1.2, 0.8, 1.1, 0.9], **choices)
    method = TDM(cosine(40), steps=4, metric="l2", weight=weight, **choices)
    generator = torch.Generator().manual_seed(0)
    rollout = method.rollout(student, method.start(20_000, (64,), generator))
    found = best_fake(method, rollout, method.renoise(20_000, (64,), generator))
    got, exact = found.slopes.detach().numpy()[1:], problem.fake_slopes(b)[1:]
    noise = 3 if problem.fake_target == "transition" else 1  # the target's, where τ is close to t_i
    assert np.allclose(got, exact, atol=0.02 * noise)  # the weight changes little at d = 64
    assert np.abs(got - exact).mean() < 0.005 * noise
    if weight == "script" and choices.get("fake_target") == "denoised":
        tilted = LinearTDM(cosine(40), 3.0, (4,), tilt=1 / 64, **choices).fake_slopes(b)[1:]
        assert np.abs(tilted - exact).max() < 0.01


@pytest.mark.parametrize("choices", CHOICES)
def test_matching_by_gradient_descent_follows_the_flow(choices):
    problem, method, b, student = linear_problem(3.0, [0.6, 1.2, 0.8, 1.3], **choices)
    path = match(
        method, student, GaussianDenoiser(problem.schedule, 3.0), 3.0, 60,
        batch=1024, generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    flow = problem.flow(b, np.linspace(0, 3, 61))
    slopes = path[:, [u for _, u in problem.steps]].double().numpy()
    gap = np.abs(np.array([problem.factors(h) for h in slopes]) - flow)
    assert gap.max() < 0.04 and np.abs(flow[-1] - flow[0]).max() > 0.14
    again = match(
        method, student, GaussianDenoiser(problem.schedule, 3.0), 3.0, 1.0, batch=8.0,
        generator=torch.Generator(),
    )  # fmt: skip
    assert len(again) == 2
    with pytest.raises(InputError, match="updates = 0"):
        match(method, student, None, 1.0, 0, generator=torch.Generator())
