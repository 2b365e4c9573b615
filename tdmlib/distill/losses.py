"""Losses on clean predictions: a distance to a target, and the two of score distillation."""

from typing import Literal, get_args

from torch import Tensor

from tdmlib.errors import InputError, check_number, check_positive, check_shapes

__all__ = ["distance", "fake_loss", "student_loss"]

Metric = Literal["pseudo_huber", "pseudo_huber_elementwise", "l2"]


def vectors(samples: Tensor) -> Tensor:
    """Samples (B, …) as vectors (B, d). Raises InputError where they have no axis but the batch."""
    if samples.ndim < 2 or not samples.shape[1:].numel():
        raise InputError(
            f"samples have shape {tuple(samples.shape)}; expected (B, …), a batch of at least one "
            "coordinate each"
        )
    return samples.flatten(1)


def _mean(value: Tensor) -> Tensor:
    return vectors(value).mean(1)


def check_scale(c: float) -> float:
    """c of the pseudo-Huber metrics. Raises InputError unless float32 holds its square."""
    return check_number("c", c, 1e-18, 1e18)


def check_cap(name: str, value: float) -> float:
    """A bound on weights. Raises InputError unless it is positive and at most 1e30."""
    return check_positive(name, value, 1e30)


def distance(
    x_hat: Tensor, target: Tensor, metric: Metric = "pseudo_huber", c: float | None = None
) -> Tensor:
    """How far x̂ is from a target without gradient, d(x̂, sg(target)), shape (B,).

    Consistency training and score distillation minimise it; they differ in the target.
    Both arguments are clean predictions of shape (B, …). "pseudo_huber" is
    √(‖·‖² + c²) − c per sample, c = 0.00054 √d (Song and Dhariwal, 2024);
    "pseudo_huber_elementwise" (c = 1e-3) and "l2" average over dimensions. Raises
    InputError for an unknown metric, shapes that differ or have one axis, or a `c`
    outside 1e-18 … 1e18.
    """
    check_shapes(x_hat.shape, target=target)
    if c is not None:
        check_scale(c)
    gap = vectors(x_hat - target.detach())  # (B, d)
    match metric:
        case "pseudo_huber":
            c = 0.00054 * gap.shape[1] ** 0.5 if c is None else c
            return (gap.square().sum(1) + c**2).sqrt() - c
        case "pseudo_huber_elementwise":
            c = 1e-3 if c is None else c
            return ((gap**2 + c**2).sqrt() - c).mean(1)
        case "l2":
            return (gap**2).mean(1)
        case _:
            names = ", ".join(get_args(Metric))
            raise InputError(f"metric {metric!r} is unknown; choose {names}")


def student_loss(
    x_hat: Tensor,
    x_teacher: Tensor,
    x_fake: Tensor,
    *,
    x_uncond: Tensor | None = None,
    cfg: float = 1.0,
    metric: Metric = "pseudo_huber",
    c: float | None = None,
    normalize: bool = False,
) -> Tensor:
    """`distance` of x̂ to sg(x̂ + x_φ − x_ψ + (cfg − 1)(x_φ − x_{φ,∅})), shape (B,).

    All arguments are clean predictions of shape (B, …); `metric` and `c` as in `distance`, the
    paper's is "pseudo_huber". `normalize` divides the value by the mean |x̂ − x_{φ,cfg}| of the
    sample, as the public script does. Raises InputError for an unknown metric, shapes that differ,
    `cfg` ≠ 1 without `x_uncond`, a `cfg` that is not finite, or a `c` as in `distance`.
    """
    check_shapes(x_hat.shape, x_teacher=x_teacher, x_fake=x_fake, x_uncond=x_uncond)
    check_number("cfg", cfg)
    guided = x_teacher
    if cfg != 1:
        if x_uncond is None:
            raise InputError(f"cfg = {cfg:g} needs the teacher's unconditional prediction x_uncond")
        guided = x_teacher + (cfg - 1) * (x_teacher - x_uncond)
    value = distance(x_hat, x_hat + guided - x_fake, metric, c)
    if normalize:
        value = value / _mean((x_hat - guided).abs()).detach().clamp_min(1e-8)
    return value


def fake_loss(
    x_fake: Tensor,
    target: Tensor,
    *,
    snr: Tensor | None = None,
    snr_cap: float = 5.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Mean square over dimensions × min(SNR, cap) × weight, shape (B,).

    x_fake and target have shape (B, …); snr = α_τ²/σ_τ² and weight have shape (B,).
    Raises InputError for other shapes, or a snr_cap that is not positive or beyond 1e30.
    """
    check_cap("snr_cap", snr_cap)
    check_shapes(x_fake.shape, target=target)
    check_shapes(x_fake.shape[:1], snr=snr, weight=weight)
    value = _mean((x_fake - target) ** 2)
    if snr is not None:
        value = value * snr.clamp_max(snr_cap)
    return value if weight is None else value * weight
