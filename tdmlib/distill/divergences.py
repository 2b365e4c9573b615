"""How two scores at x_τ say where a trajectory point should go: one function a divergence.

A point x_i is diffused to x_τ. p is the student's law there, with score s_ψ that the fake score
tracks, q the teacher's, with score s_φ; s = (α_τ x̂ − x_τ)/σ_τ². Each function returns x̂_φ and x̂_ψ,
the difference of which, x̂_ψ − x̂_φ, is the gradient of w_τ D(p ‖ q) by x_i/α_i for some w_τ > 0.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tdmlib.distill.renoise import diffuse, transition_target
from tdmlib.schedules import Schedule


@torch.no_grad()
def kl_predictions(
    teacher: Callable[[Tensor], Tensor], fake: Callable[[Tensor], Tensor],
    x_i: Tensor, i: Tensor, tau: Tensor, noise: Tensor, schedule: Schedule,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """x̂_φ and x̂_ψ at x_τ: by x_i/α_i, ∇ KL(p ‖ q) = α_τ E[s_ψ − s_φ], so that w_τ = σ_τ²/α_τ².

    How s_ψ depends on the student drops out, as E_p ∂ log p = 0; no network is differentiated.
    `teacher` and `fake` map x_τ to clean predictions; x_i and noise have shape (B, …).
    """
    x_tau = diffuse(x_i, i, tau, noise, schedule)
    return teacher(x_tau), fake(x_tau)


@torch.enable_grad()
def fisher_predictions(
    teacher: Callable[[Tensor], Tensor], fake: Callable[[Tensor], Tensor],
    x_i: Tensor, i: Tensor, tau: Tensor, noise: Tensor, schedule: Schedule,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """x̂_φ, and in place of x̂_ψ what makes the difference the gradient of E_p‖s_ψ − s_φ‖².

    With c = −ε/β, the score of q(x_τ | x_i), E⟨c, v(x_τ)⟩ = E⟨s_p, v(x_τ)⟩ for every
    field v (the identity behind SiD, Zhou et al. 2024). So the divergence equals
    E[‖s_φ − c‖² − ‖s_ψ − c‖²], the teacher's denoising loss on the student's points less
    the fake score's. The second is least at s_ψ = s_p, so that its dependence on ψ may be
    left out: both networks are differentiated by their input x_τ, not by their weights.
    As clean predictions, y = `transition_target` and w_τ = σ_τ⁴/2α_τ², the gradient is
    x̂_ψ − x̂_φ + α_τ (J_φᵀ(x̂_φ − y) − J_ψᵀ(x̂_ψ − y)), the Kullback-Leibler one and a
    term of Jacobians. Arguments as in `kl_predictions`.
    """
    x_i = x_i.detach().requires_grad_()
    x_tau = diffuse(x_i, i, tau, noise, schedule)
    y = transition_target(x_i, i, tau, noise, schedule)
    x_teacher, x_fake = teacher(x_tau), fake(x_tau)
    divergence = 0.5 * ((x_teacher - y) ** 2 - (x_fake - y) ** 2).sum()
    (slope,) = torch.autograd.grad(divergence, x_i)
    x_teacher = x_teacher.detach()
    return x_teacher, x_teacher + schedule.at(i, slope)[0] * slope
