import numpy as np
import pytest
import torch

from tdmlib.denoisers import GaussianDenoiser
from tdmlib.distill.divergences import fisher_predictions, kl_predictions
from tdmlib.distill.renoise import diffuse, transition_target
from tdmlib.distill.tdm import TDM
from tdmlib.schedules import cosine

pytestmark = pytest.mark.usefixtures("double")
SCHEDULE = cosine(40)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def by_score(variance, tau):
    """The clean prediction that belongs to the score −z/variance at level τ."""
    alpha, sigma = SCHEDULE.alpha[tau], SCHEDULE.sigma[tau]
    return lambda z: (z - sigma**2 * z / variance) / alpha


@pytest.mark.parametrize(("i", "tau"), [(0, 7), (0, 30), (12, 20), (20, 24)])
@pytest.mark.parametrize("name", ["kl", "fisher"])
@pytest.mark.parametrize("b", [0.7, 1.6])
def test_the_mean_direction_is_the_gradient_of_the_divergence(name, i, tau, b):
    """x_i = b z and the exact scores of two Gaussians: p = scale² b² + β² at τ, against q."""
    alpha_i, alpha, sigma = SCHEDULE.alpha[i], SCHEDULE.alpha[tau], SCHEDULE.sigma[tau]
    scale = alpha / alpha_i
    p = (scale * b) ** 2 + sigma**2 - (scale * SCHEDULE.sigma[i]) ** 2
    q = alpha**2 * 1.3 + sigma**2
    z, noise = torch.randn(2, 400_000, 1, generator=generator(1))
    predict = {"kl": kl_predictions, "fisher": fisher_predictions}[name]
    levels = torch.full((400_000,), i), torch.full((400_000,), tau)
    x_teacher, x_fake = predict(by_score(q, tau), by_score(p, tau), b * z, *levels, noise, SCHEDULE)
    slope = (x_fake - x_teacher) * z / alpha_i  # x_i/α_i moves by z/α_i with b
    # D = ½(p/q − 1 − ln p/q) and p(1/p − 1/q)², by p
    by_p, w = {
        "kl": (0.5 * (1 / q - 1 / p), sigma**2 / alpha**2),
        "fisher": (1 / q**2 - 1 / p**2, sigma**4 / alpha**2 / 2),
    }[name]
    exact = w * by_p * 2 * scale**2 * b
    error = slope.std() / 400_000**0.5
    assert abs(slope.mean() - exact) < 4 * error
    assert 4 * error < 0.15 * abs(exact)


def test_the_fisher_direction_is_that_of_kl_and_a_term_of_jacobians():
    i, tau = torch.tensor([0, 10, 10, 30]), torch.tensor([5, 11, 40, 33])
    x_i, noise = torch.randn(2, 4, 3, generator=generator(2))
    teacher, fake = (lambda z: torch.tanh(z) - z**2), (lambda z: torch.sin(2 * z))
    x_tau = diffuse(x_i, i, tau, noise, SCHEDULE)
    y = transition_target(x_i, i, tau, noise, SCHEDULE)
    by_teacher, by_fake = 1 - torch.tanh(x_tau) ** 2 - 2 * x_tau, 2 * torch.cos(2 * x_tau)
    alpha = SCHEDULE.at(tau, x_tau)[0]
    extra = alpha * (by_teacher * (teacher(x_tau) - y) - by_fake * (fake(x_tau) - y))
    kl = kl_predictions(teacher, fake, x_i, i, tau, noise, SCHEDULE)
    fisher = fisher_predictions(teacher, fake, x_i, i, tau, noise, SCHEDULE)
    assert torch.equal(kl[0], teacher(x_tau)) and torch.equal(fisher[0], kl[0])
    assert torch.equal(kl[1], fake(x_tau))
    assert torch.allclose(fisher[1], kl[1] + extra)
    assert torch.allclose(fisher[1][2], kl[1][2], rtol=1e-9)  # at pure noise they are one


def test_no_weight_of_teacher_or_fake_score_is_differentiated():
    class Weighted(torch.nn.Module):
        def __init__(self, w):
            super().__init__()
            self.w = torch.nn.Parameter(torch.tensor(w))

        def forward(self, z, t, cond=None):
            return torch.tanh(self.w * z)

    student, teacher, fake = Weighted(0.5), Weighted(0.9), Weighted(0.7)
    losses = []
    for divergence in ("kl", "fisher"):
        method = TDM(SCHEDULE, divergence=divergence, metric="l2")
        rollout = method.rollout(student, method.start(64, (3,), generator(3)))
        renoise = method.renoise(64, (3,), generator(4))
        loss, _ = method.student_objective(teacher, fake, rollout, renoise)
        loss.sum().backward()
        assert teacher.w.grad is fake.w.grad is None and student.w.grad != 0
        losses.append(loss.detach())
        with torch.no_grad():  # as an evaluation might ask for it
            assert torch.equal(method.student_objective(teacher, fake, rollout, renoise)[0], loss)
    assert not torch.allclose(*losses)


def test_equal_scores_are_at_rest():
    x_i, noise = torch.randn(2, 5, 2, generator=generator(5))
    same, levels = GaussianDenoiser(SCHEDULE, 0.4), (torch.full((5,), 8), torch.full((5,), 15))
    for predict in (kl_predictions, fisher_predictions):
        one, other = predict(
            lambda z: same(z, 15), lambda z: same(z, 15), x_i, *levels, noise, SCHEDULE
        )
        assert np.allclose(one, other)
