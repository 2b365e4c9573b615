"""Students of the one-step form: exact steps, best fits, descent, and plans carried out."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import newton

from tdmlib.errors import InputError
from tdmlib.linear import STRATEGIES, canonical_plan, evaluate
from tdmlib.mixtures import GaussianMixture
from tdmlib.nonlinear import (
    GatedAffine,
    MixtureTeacher,
    amplification,
    bend,
    best_fit,
    carry_out,
    component_student,
    distance_to_gradients,
    mean_square,
    random_mixture,
    step_student,
    train,
    widened,
)
from tdmlib.schedules import cosine

SCHEDULE = cosine(6)


def round_modes(means, variance):
    return GaussianMixture.round_modes(torch.tensor(means, dtype=torch.float64), variance)


@pytest.mark.parametrize(("M", "d"), [(2, 1), (3, 2), (4, 3)])
@pytest.mark.parametrize("t", [1, 4, 6])
def test_a_step_is_a_gated_mixture_of_affine_maps(M, d, t):
    m = random_mixture(M, d, seed=M)
    m = GaussianMixture(torch.arange(1.0, M + 1).double(), m.means, m.covariances)
    teacher = MixtureTeacher(m, SCHEDULE)
    z = teacher.marginal(200, t)
    student = step_student(teacher.mixture, SCHEDULE, t - 1, t)
    assert torch.allclose(student(z), teacher.step(z, t), atol=1e-10)


def test_components_alone_make_the_composite_of_one_and_of_hard_round_gates():
    one = MixtureTeacher(round_modes([[0.5, -1.0]], 0.3), SCHEDULE)
    z = one.marginal(50, 5)
    student = component_student(one.mixture, SCHEDULE, 1, 5)
    assert torch.allclose(student(z), one.composite(z, 1, 5))
    far = MixtureTeacher(round_modes([[90.0, 0.0], [-50.0, 80.0], [0.0, -70.0]], 0.3), SCHEDULE)
    z = far.marginal(500, 5)
    student = component_student(far.mixture, SCHEDULE, 1, 5)
    assert torch.allclose(student(z), far.composite(z, 1, 5))


def test_a_single_step_is_recovered_from_another_start():
    """What the family holds exactly is found, to rounding."""
    teacher = MixtureTeacher(random_mixture(3, 2, seed=0), SCHEDULE)
    z = teacher.marginal(300, 3)
    start = step_student(teacher.mixture, SCHEDULE, 2, 4)
    found = best_fit([start], z, teacher.step(z, 3))
    assert mean_square(found, z, teacher.step(z, 3)) < 1e-20
    merged = teacher.composite(z, 0, 3)
    found = best_fit([start], z, merged, 30)
    assert 1e-6 < mean_square(found, z, merged) < 0.1 * mean_square(start, z, merged)
    more = best_fit([widened(found, 4)], z, merged, 30)
    assert mean_square(more, z, merged) < mean_square(found, z, merged)


def test_of_several_starts_the_closest_is_kept_within_the_evaluations():
    teacher = MixtureTeacher(random_mixture(3, 2, seed=0), SCHEDULE)
    z = teacher.marginal(300, 3)
    target = teacher.composite(z, 1, 3)
    starts = [step_student(teacher.mixture, SCHEDULE, i, 3) for i in (0, 1, 2)]
    off = [mean_square(best_fit([start], z, target, 4), z, target) for start in starts]
    assert len(set(off)) == 3
    calls = []
    starts[0].register_forward_hook(lambda *_: calls.append(1))
    for order in (starts, starts[::-1]):
        found = best_fit(order, z, target, 4)
        assert torch.isclose(mean_square(found, z, target), min(off), rtol=1e-6)
        assert not any(p.requires_grad for p in found.parameters())
    assert 2 * 4 <= len(calls) <= 2 * (4 + 4 + 2)  # values, Jacobians, and a look at the shapes


def test_a_training_lasts_as_long_as_it_is_told():
    """One affine map on z with E z = 0, E z² = 4: Â − B shrinks by 1 − 2·4 s/n in each of n."""
    z = torch.tensor([[2.0], [-2.0]], dtype=torch.float64)
    student = GatedAffine(torch.zeros(1, 3), torch.tensor([[[1.0, 0.0]]])).double()
    for s, step, n in ((0.05, 0.02, 3), (0.03, 0.1, 1), (0.1, 0.025, 4), (0.0, 0.1, 0)):
        found = train(student, z, 3 * z, s, step)
        left = (1 - 8 * s / max(n, 1)) ** n
        assert torch.allclose(found.maps, torch.tensor([[[3 - 2 * left, 0.0]]]).double())
        assert not any(p.requires_grad for p in found.parameters())
    assert student.maps[0, 0, 0] == 1 and student.maps.requires_grad  # it was a copy


def test_a_split_student_moves_by_normal_numbers():
    student = step_student(random_mixture(3, 2, seed=0), SCHEDULE, 3, 4)
    split, other, plain = (widened(student, 999, seed, noise)
                           for seed, noise in ((0, 0.2), (1, 0.2), (0, 0.0)))  # fmt: skip
    for name in ("gates", "maps"):
        numbers = torch.stack([getattr(s, name) - getattr(plain, name) for s in (split, other)])
        numbers = numbers.detach().flatten(1) / 0.2
        assert np.allclose(numbers.mean(1), 0, atol=0.06)
        assert np.allclose(np.cov(numbers), np.eye(2), atol=0.06)


def test_a_split_student_is_nearly_the_same_map():
    teacher = MixtureTeacher(random_mixture(3, 2, seed=0), SCHEDULE)
    student, z = step_student(teacher.mixture, SCHEDULE, 3, 4), teacher.marginal(200, 4)
    with torch.no_grad():
        assert mean_square(widened(student, 5, noise=0.0), z, student(z)) < 1e-20
        assert 0 < mean_square(widened(student, 5), z, student(z)) < 0.1
    with pytest.raises(InputError, match="components"):
        widened(student, 2)
    for seed in (2.5, -1, 2**63):
        with pytest.raises(InputError, match=r"seed = .* must be a whole number within"):
            widened(student, 4, seed=seed)


@pytest.mark.parametrize("name", STRATEGIES)
def test_one_component_carries_plans_out_as_the_linear_regime_evaluates_them(name):
    lam, s = np.array([0.4, 1.5]), 0.8
    mixture = GaussianMixture(
        torch.ones(1, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64),
        torch.diag(torch.from_numpy(lam))[None],
    )  # fmt: skip
    teacher, schedule = MixtureTeacher(mixture, cosine(3)), cosine(3)

    def points(j):
        """Four points with mean zero and exactly the covariance of z_j."""
        scale = torch.from_numpy(np.sqrt(schedule.alpha[j] ** 2 * lam + schedule.sigma[j] ** 2))
        return torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=scale.dtype) * scale

    plan = canonical_plan(name, 3)
    student = carry_out(plan, teacher, points, partial(train, s=s, step=8e-3))
    S = evaluate(plan, schedule, lam, s)
    assert np.allclose(student.maps[0, :, :2].numpy(), np.diag(S), atol=5e-3)


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_merge_learns_the_product_of_what_it_merges_from_its_noisiest(name):
    """With students that learn their target exactly, on maps that do not commute."""
    teacher, plan = MixtureTeacher(random_mixture(3, 2, seed=1), SCHEDULE), canonical_plan(name, 6)
    points, merges = partial(teacher.marginal, 50), iter(plan.merges)

    def learn(start, z, target):
        i, j = next(merges)
        assert torch.equal(z, points(j))
        assert torch.allclose(target, teacher.composite(z, i, j))
        begun = [torch.allclose(start(z), teacher.composite(z, m, j)) for m in range(i + 1, j)]
        assert sum(begun) == 1
        return partial(teacher.composite, i=i, j=j)

    whole, z = carry_out(plan, teacher, points, learn), points(6)
    assert torch.allclose(whole(z), teacher.composite(z)) and next(merges, None) is None


def test_errors_are_carried_on_as_the_jacobians_say():
    teacher = MixtureTeacher(round_modes([[1.0, 0.0], [-0.5, 0.8]], 0.1), SCHEDULE)
    exact = teacher.marginal(300, 3)
    push = 1e-6 * torch.randn(exact.shape, generator=torch.Generator().manual_seed(0),
                              dtype=exact.dtype)  # fmt: skip
    found = amplification(teacher, exact, exact + push, 3)
    assert np.allclose(found["measured"], found["linearised"], rtol=1e-4)
    assert np.allclose(found["measured"], found["random"], rtol=0.2)
    assert (np.array(found["measured"]) < found["bound"]).all()
    assert np.allclose(found["bound"], np.cumprod([teacher.lipschitz(t) for t in (3, 2, 1)]))


def test_a_rotation_is_as_far_from_gradients_as_it_is_long():
    """On N(0, I) the field (−z₂, z₁) is at right angles to every gradient; a matrix splits."""
    plain = GaussianMixture(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
    B = np.array([[1.0, 3.0], [0.5, -2.0]])
    expected = abs(B[0, 1] - B[1, 0]) / np.sqrt(2)
    assert np.allclose(distance_to_gradients(lambda z: z @ B.T, plain, 1.0, 0.0, 3), expected)


def test_polynomials_count_up_to_their_whole_degree():
    """u = φ = xy on N(μ, S): in units of the deviations g_u = (x y² − x, y − x² y), ∇φ = (y, x)."""
    mean, scale, alpha, sigma = np.array([30.0, -50.0]), np.array([2.0, 0.5]), 0.8, 0.6
    lam = (scale**2 - sigma**2 * 0.25) / alpha**2
    gaussian = GaussianMixture(np.ones(1), mean[None], np.diag(lam)[None])

    def unit(z):
        return ((z - alpha * mean) / scale).T

    def across(z):
        x, y = unit(z)
        return np.stack([x * y**2 - x, y - x**2 * y], axis=1) / scale[::-1]

    def along(z):
        return unit(z)[::-1].T / scale

    sizes = {across: np.sqrt(2 * (1 / 0.25 + 1 / 4)), along: np.sqrt(1 / 4 + 1 / 0.25)}
    for field, size in sizes.items():
        for degree in (1, 2, 3):
            found = distance_to_gradients(field, gaussian, alpha, sigma / 2, degree, 61)
            low = size if field is across and degree > 1 else 0
            high = 0 if field is along and degree > 1 else size
            assert np.allclose(found, (low, high), atol=1e-6)


def test_two_bounds_enclose_the_distance_to_every_exact_step():
    teacher = MixtureTeacher(random_mixture(3, 2, seed=0).numpy(), SCHEDULE)
    levels = SCHEDULE.alpha[5], SCHEDULE.sigma[5]
    low, high = distance_to_gradients(
        lambda z: teacher.step(z, 5), teacher.mixture, *levels, 14, 61
    )
    assert low < 1e-6 and high < 1e-3
    field = partial(teacher.composite, i=3, j=5)
    coarse = distance_to_gradients(field, teacher.mixture, *levels, 6, 61)
    fine = distance_to_gradients(field, teacher.mixture, *levels, 14, 61)
    assert 1e-4 < coarse[0] <= fine[0] * (1 + 1e-9) <= fine[1] * (1 + 2e-9) <= coarse[1]
    assert fine[1] < 2 * fine[0]
    z = teacher.marginal(20_000, 5)
    off = field(z) - MixtureTeacher(teacher.mixture, SCHEDULE.sub([0, 1, 3, 5])).step(z, 3)
    assert np.sqrt(np.square(off).sum(1).mean()) > fine[0]  # one gradient among all


def test_poles_pile_up_where_a_merged_step_is_no_step():
    """Two modes in d = 1, where a step is explicit: merged with the next it is not meromorphic."""
    alpha, sigma, lam = cosine(8).alpha, cosine(8).sigma, 0.1
    modes = GaussianMixture(np.ones(2), np.array([[1.0], [-1.0]]), np.full((2, 1, 1), lam))
    rate = {t: alpha[t] / (alpha[t] ** 2 * lam + sigma[t] ** 2) for t in (5, 6)}

    def step(z, t):
        a, pull = sigma[t - 1] / sigma[t], rate[t] * sigma[t] ** 2 / alpha[t] * np.tanh(rate[t] * z)
        return a * z + (alpha[t - 1] - a * alpha[t]) * (rate[t] * lam * z + pull)

    x = np.linspace(-2, 2, 9)
    teacher = MixtureTeacher(modes, cosine(8))
    assert np.allclose(teacher.composite(x[:, None], 4, 6)[:, 0], step(step(x, 6), 5))
    pole, apart = 0.5j * np.pi / rate[6], []
    strength = step(pole + 1e-6, 6) * 1e-6
    for n in (10, 100, 1000):
        wanted = 1j * (n + 0.5) * np.pi / rate[5]
        z = newton(lambda z, w=wanted: 1 / step(z, 6) - 1 / w, pole + strength / wanted, tol=1e-15)
        assert abs(np.cosh(rate[5] * step(z, 6))) < 1e-6 * n  # a pole of tanh in the second step
        apart.append(abs(z - pole))
    assert np.allclose(np.array(apart) * (10.5, 100.5, 1000.5), apart[-1] * 1000.5, rtol=0.2)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="disagree"):
        GatedAffine(torch.zeros(2, 6), torch.zeros(2, 2, 2))
    with pytest.raises(InputError, match="disagree"):
        GatedAffine(torch.zeros(2, 5), torch.zeros(2, 2, 3))
    student, z = step_student(random_mixture(2, 2, 0), SCHEDULE, 1, 2), torch.zeros(3, 2).double()
    with pytest.raises(InputError, match="more points"):
        best_fit([student], z, z)
    with pytest.raises(InputError, match="at least one"):
        best_fit([], z, z)
    with pytest.raises(InputError, match="float64"):
        best_fit([student.float()], z.float(), z.float())
    student = student.double()
    with pytest.raises(InputError, match="target is"):
        best_fit([student], z, z[0])
    for i, j in ((2, 2), (-1, 2), (0, 7), (0, 1.5)):
        for make in (step_student, component_student):
            with pytest.raises(InputError):
                make(random_mixture(2, 2, 0), SCHEDULE, i, j)
    with pytest.raises(InputError, match="torch tensors"):
        step_student(GaussianMixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1))),
                     SCHEDULE, 1, 2)  # fmt: skip
    with pytest.raises(InputError, match="s = "):
        train(student, z, z, s=-1.0)
    with pytest.raises(InputError, match="step = "):
        train(student, z, z, s=1.0, step=0.0)
    with pytest.raises(InputError, match="T = 6"):
        carry_out(canonical_plan("vanilla", 7), MixtureTeacher(random_mixture(2, 2, 0), SCHEDULE),
                  lambda j: z, best_fit)  # fmt: skip
    three = GaussianMixture(np.ones(1), np.zeros((1, 3)), np.eye(3)[None])
    with pytest.raises(InputError, match="d = 3"):
        distance_to_gradients(lambda z: z, three, 1.0, 0.0)
    plain = GaussianMixture(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
    with pytest.raises(InputError, match="must keep the shape"):
        distance_to_gradients(lambda z: z[0], plain, 1.0, 0.0, 2, 5)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_what_is_not_finite_is_not_fitted(value):
    student = step_student(random_mixture(2, 2, 0), SCHEDULE, 1, 2)
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((30, 2)))
    for a, b in ((value, 0.0), (0.0, value)):
        points, target = z.clone(), z.clone()
        points[3, 0], target[5, 1] = points[3, 0] + a, target[5, 1] + b
        with pytest.raises(InputError, match=r"E‖start\(z\) − target‖² is (nan|inf); leave"):
            best_fit([student, student], points, target)
        with pytest.raises(InputError, match=r"the student is NaN or infinite after s = 0\.1"):
            train(student, points, target, s=0.1)
        if not np.isfinite(value):
            with pytest.raises(InputError, match="NaN or infinite numbers"):
                bend(points, target)
    with pytest.raises(InputError, match="take smaller steps"):
        train(student, 1e3 * z, z, s=50.0, step=1.0)
    with pytest.raises(InputError, match="target is"):
        bend(z, z[0])


@pytest.mark.parametrize(
    ("given", "says"),
    [({"alpha": 0, "sigma": 0}, "sigma = 0: must be a finite number within 1e-06"),
     ({"alpha": np.nan}, "alpha = nan"), ({"alpha": -1}, "alpha = -1"), ({"sigma": -1}, "sigma = "),
     ({"sigma": 1e200}, "sigma = 1e"), ({"degree": 200}, "degree = 200: must be .* 1 … 40"),
     ({"degree": 0}, "degree = 0"), ({"points": 1}, "points = 1"), ({"points": 10**4}, "points = "),
     ({"degree": 30, "points": 31}, "degree = 30, points = 31: .* lower the degree"),
     ({"points": 9}, "points = 9: .* take more points"),
     ({"field": lambda z: z * np.nan}, "field gives NaN")],
)  # fmt: skip
def test_distances_that_sums_do_not_give_are_refused(given, says):
    plain = GaussianMixture(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
    usual = dict(field=lambda z: z, mixture=plain, alpha=1.0, sigma=0.0, degree=6, points=31)
    distance_to_gradients(**usual)
    with pytest.raises(InputError, match=says):
        distance_to_gradients(**usual | given)


def test_components_between_the_points_of_the_grid_are_noticed():
    """Without, the lower bound would be eight times too large."""
    narrow = GaussianMixture(
        np.ones(2), np.array([[1.0, 0.3], [-1.0, -0.3]]), np.stack([1e-2 * np.eye(2)] * 2)
    )
    turned = lambda z: np.stack([-z[:, 1], z[:, 0]], axis=1)  # noqa: E731
    with pytest.raises(InputError, match=r"cosine of .* take more points"):
        distance_to_gradients(turned, narrow, 1.0, 0.0, 4, 15)
    low, high = distance_to_gradients(turned, narrow, 1.0, 0.0, 4, 201)
    assert 0 < low <= high * (1 + 1e-9)


def test_the_bend_is_what_no_affine_map_reaches():
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((4000, 2)))
    affine = z @ torch.tensor([[1.0, 2.0], [0.5, -1.0]]).double() + 3.0
    assert bend(z, affine) < 1e-12
    curve = torch.stack([z[:, 0] ** 2, torch.zeros(4000).double()], dim=1)  # variance 2
    assert torch.isclose(bend(z, affine + curve), torch.tensor(2.0).double().sqrt(), rtol=0.1)
    assert torch.isclose(bend(z, affine + curve), bend(z, curve), rtol=1e-9)
