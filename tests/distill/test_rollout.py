"""Rollouts: one grid for all, every option, and what is differentiated."""

import math
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tdmlib.denoisers import Condition, GaussianDenoiser, Guided
from tdmlib.distill.renoise import Renoise
from tdmlib.distill.rollout import FewSteps, Rollout, Start
from tdmlib.distill.tdm import TDM
from tdmlib.errors import InputError
from tdmlib.linear import LinearTDM, marginal_variance
from tdmlib.models import ResidualMLP
from tdmlib.sampling import extrapolate, sample, trajectory
from tdmlib.schedules import cosine

pytestmark = pytest.mark.usefixtures("double")
SCHEDULE = cosine(40)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def bent(z, t, cond=None):
    """A denoiser that is not linear, and knows nothing but z and t."""
    alpha, sigma = SCHEDULE.at(t, z)
    return torch.tanh(alpha * z) + 0.3 * sigma * z


class Learner(nn.Module):
    """A denoiser with a weight a level, that is told K and guidance and asks for both."""

    def __init__(self, told=False):
        super().__init__()
        self.w, self.told = nn.Parameter(torch.linspace(0.2, 1, 41)), told

    def forward(self, z, t, cond=None):
        t = torch.as_tensor(t).expand(len(z))
        shift = 0
        if self.told:
            shift = torch.as_tensor(cond.steps + 0.1 * cond.guidance).reshape(-1, 1) / 10
        return self.w[t][:, None] * torch.tanh(z) + shift


def objectives(method, student, fake, teacher, cond=None):
    """Both losses of one drawn batch, and the student's gradient."""
    rollout = method.rollout(student, method.start(24, (3,), generator(1)), cond)
    renoise = method.renoise(24, (3,), generator(2))
    loss, _ = method.student_objective(teacher, fake, rollout, renoise, cond)
    fake_loss, _ = method.fake_objective(fake, rollout, renoise, cond)
    return loss, fake_loss, torch.autograd.grad(loss.sum(), student.parameters())[0]


choices = st.fixed_dictionaries(
    {
        "counts": st.sets(st.integers(1, 6), min_size=1, max_size=3),
        "landing": st.sampled_from(["grid", "random"]),
        "solver": st.sampled_from(["ddim", "dpm++"]),
        "backpropagate": st.sampled_from(["last", "all"]),
        "interval": st.sampled_from(["separate", "full"]),
        "margin": st.integers(1, 3),
        "headroom": st.integers(0, 2),
        "lowest": st.integers(1, 4),
        "spacing": st.sampled_from([1.0, 1.1, 0.9]),
    }
)


@given(choices, st.integers(0, 99))
def test_rollout_loss_and_sampler_share_every_level(choice, seed):
    """A student that predicts 0 leaves x_i = σ_i ε̂: levels are read off the points themselves."""
    asked = []

    def student(z, t, cond=None):
        asked.extend(torch.as_tensor(t).flatten().tolist())
        return torch.zeros_like(z)

    method = TDM(SCHEDULE, **choice)
    start = method.start(30, (2,), generator(seed))
    rollout = method.rollout(student, start)
    assert len(asked) == int((start.count - start.step).sum())  # nobody steps for nothing
    renoise = method.renoise(30, (2,), generator(seed + 1))
    lowest = replace(renoise, u=torch.zeros(30), noise=torch.zeros(30, 2))
    x_tau, tau = method.diffused(rollout, lowest)

    sigma, alpha = (torch.from_numpy(v.copy()) for v in (SCHEDULE.sigma, SCHEDULE.alpha))
    landed = (sigma - (rollout.x_i / rollout.eps_hat)[:, :1]).abs().argmin(1)
    carried = (rollout.x_i / x_tau * alpha[tau][:, None])[:, :1]  # α_i, as the loss has it
    assert torch.equal(landed, rollout.i)
    rows = (landed > 0) & (tau < 40)  # elsewhere nothing is left of the noise, or of the point
    assert torch.allclose(carried[rows, 0], alpha[landed[rows]])
    assert torch.equal(tau, (landed + method.margin).clamp_min(method.lowest))

    grids = {
        K: [round(40 * (j / K) ** method.spacing) for j in range(K + 1)] for K in method.counts
    }
    below = torch.tensor(
        [grids[K][k] for K, k in zip(start.count.tolist(), start.step.tolist(), strict=True)]
    )
    if method.landing == "grid":
        assert torch.equal(landed, below)
    assert ((below <= landed) & (landed <= rollout.upper - method.room)).all()
    seen, asked[:] = set(asked), []
    for K in method.counts:
        method.sample(student, start.noise, steps=K)
    assert seen == set(asked)


@pytest.mark.parametrize("solver", ["ddim", "dpm++"])
def test_each_sample_follows_the_sampler_of_its_own_count(solver):
    method = TDM(SCHEDULE, counts=(1, 2, 5), solver=solver, steps_aware="neither")
    start = method.start(60, (3,), generator(3))
    rollout = method.rollout(bent, start)
    pairs = set(zip(start.count.tolist(), start.step.tolist(), strict=True))
    assert pairs == {(K, k) for K in (1, 2, 5) for k in range(K)}
    assert start.count.bincount().tolist() == [0, 20, 20, 0, 0, 20]
    for K in (1, 2, 5):
        path = trajectory(bent, start.noise, K, SCHEDULE, solver=solver)
        states = {t: z for t, z, _ in path}
        for row in (start.count == K).nonzero()[:, 0]:
            i, upper = int(rollout.i[row]), int(rollout.upper[row])
            assert torch.allclose(rollout.x_i[row], states[i][row])
            assert sorted(states).index(upper) == sorted(states).index(i) + 1
        assert torch.allclose(method.sample(bent, start.noise, steps=K), states[0])


@pytest.mark.parametrize("solver", ["ddim", "dpm++"])
def test_several_counts_of_which_there_is_one_are_that_one_bit_for_bit(solver):
    student, fake, teacher = Learner(), bent, GaussianDenoiser(SCHEDULE, 0.5)
    one = objectives(TDM(SCHEDULE, steps=4, solver=solver), student, fake, teacher)
    several = objectives(TDM(SCHEDULE, counts=(4,), solver=solver), student, fake, teacher)
    for a, b in zip(one, several, strict=True):
        assert torch.equal(a, b)


def test_who_is_told_what():
    told = {}

    def watch(name):
        def network(z, t, cond=None):
            told[name] = cond
            return bent(z, t)

        return network

    cond = torch.arange(24)
    for who in ("both", "student", "neither"):
        method = TDM(SCHEDULE, counts=(1, 4), steps_aware=who, guidance=(1, 6))
        rollout = method.rollout(watch("student"), method.start(24, (3,), generator(1)), cond)
        renoise = method.renoise(24, (3,), generator(2))
        method.student_objective(watch("teacher"), watch("fake"), rollout, renoise, cond)
        for name in ("student", "fake", "teacher"):
            knows = name != "teacher" and who in ("both", name)
            assert torch.equal(told[name].label, cond)
            assert torch.equal(told[name].guidance, rollout.guidance)
            assert (told[name].steps is not None) == knows
            assert not knows or torch.equal(told[name].steps, rollout.count)
    assert rollout.guidance.min() >= 1 and rollout.guidance.max() <= 6
    assert len(rollout.guidance.unique()) == 24
    method = TDM(SCHEDULE)
    method.rollout(watch("student"), method.start(24, (3,), generator(1)), cond)
    assert torch.equal(told["student"], cond)  # the labels themselves


@pytest.mark.parametrize("landing", ["grid", "random"])
def test_a_fake_score_can_be_told_which_step_its_point_belongs_to(landing):
    told = {"student": [], "teacher": [], "fake": []}

    def watch(name):
        def network(z, t, cond=None):
            told[name].append(Condition.of(cond).origin)
            return bent(z, t)

        return network

    method = TDM(SCHEDULE, interval="full", fake_sees_origin=True, landing=landing)
    rollout = method.rollout(watch("student"), method.start(24, (3,), generator(1)))
    renoise = method.renoise(24, (3,), generator(2))
    method.student_objective(watch("teacher"), watch("fake"), rollout, renoise)
    method.fake_objective(watch("fake"), rollout, renoise)
    method.sample(watch("student"), renoise.noise)
    assert len(told["fake"]) == 2 and all(torch.equal(i, rollout.i) for i in told["fake"])
    assert told["student"] + told["teacher"] == [None] * 9  # of K = 4, and where they end
    assert method.aware("fake")["origin"] and "origin" not in method.aware("student")
    assert "origin" not in TDM(SCHEDULE, interval="full").aware("fake")


def test_drawn_guidance_does_not_round_beyond_what_a_network_takes(monkeypatch):
    ends = (11.6, 11.7)
    torch.set_default_dtype(torch.float32)  # the fixture of this folder sets and resets it
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 1 - 2**-24))
    start = TDM(SCHEDULE, guidance=ends).start(2, (3,), torch.Generator())
    network = ResidualMLP((3,), T=SCHEDULE.T, classes=1, width=8, blocks=1, guidance=ends)
    assert network(start.noise, 1, Condition(guidance=start.guidance)).shape == (2, 3)
    with pytest.raises(InputError, match=r"guidance has shape \(3,\), expected \(2,\)"):
        TDM(SCHEDULE, guidance=ends).rollout(
            lambda z, t, cond: z, Start(start.noise, start.step, guidance=torch.full((3,), 11.6))
        )


def test_the_student_imitates_the_guidance_that_it_is_told():
    def teacher(z, t, cond=None):
        return bent(z, t) + (0 if cond is None else cond[:, None])

    method = TDM(SCHEDULE, guidance=(2, 5), metric="l2")
    cond = torch.arange(24)
    rollout = method.rollout(bent, method.start(24, (3,), generator(1)), cond)
    renoise = method.renoise(24, (3,), generator(2))
    loss, _ = method.student_objective(Guided(teacher), bent, rollout, renoise, cond)
    assert torch.allclose(loss, (rollout.guidance * cond) ** 2)


@pytest.mark.parametrize("landing", ["grid", "random"])
@pytest.mark.parametrize("solver", ["ddim", "dpm++"])
def test_one_step_is_the_gradient_of_its_landing_but_for_a_positive_factor(solver, landing):
    method = TDM(SCHEDULE, solver=solver, landing=landing)
    student, start = Learner(), method.start(40, (3,), generator(4))
    rollout = method.rollout(student, start)
    direction = torch.randn(40, 3, generator=generator(5))
    i, upper = (np.pi / 80 * v[:, None] for v in (rollout.i, rollout.upper))
    factor = torch.sin(upper - i) / torch.sin(upper)  # α_i − σ_i α/σ on the cosine schedule
    assert (factor > 0).all()
    slopes = [
        torch.autograd.grad((v * direction).sum(), student.w, retain_graph=True)[0]
        for v in (rollout.x_i, factor * rollout.x_hat, factor * method.carrier(rollout))
    ]
    assert torch.allclose(slopes[0], slopes[1]) and torch.allclose(slopes[0], slopes[2])


@pytest.mark.parametrize("counts", [(1,), (3,), (1, 2, 3)])
@pytest.mark.parametrize("solver", ["ddim", "dpm++"])
def test_full_backpropagation_is_autograd_through_the_whole_sampler(solver, counts):
    method = TDM(SCHEDULE, counts=counts, solver=solver, backpropagate="all", metric="l2")
    student, start = Learner(), method.start(36, (3,), generator(6))
    rollout = method.rollout(student, start)
    direction = torch.randn(36, 3, generator=generator(7))
    (ours,) = torch.autograd.grad((method.carrier(rollout) * direction).sum(), student.w)
    other = Learner()
    total = 0
    for K in counts:
        states = list(trajectory(other, start.noise, K, SCHEDULE, solver=solver))
        for k, (_, x_i, _) in enumerate(states[:0:-1]):
            rows = (start.count == K) & (start.step == k)
            i, upper = (np.pi / 80 * states[-1 - j][0] for j in (k, k + 1))
            factor = np.sin(upper - i) / np.sin(upper)
            total = total + ((x_i * direction)[rows] / factor).sum()
    (exact,) = torch.autograd.grad(total, other.w)
    assert torch.allclose(ours, exact)
    last = replace(method, backpropagate="last")
    (one,) = torch.autograd.grad(
        (last.carrier(last.rollout(student, start)) * direction).sum(), student.w
    )
    assert torch.allclose(one, exact) == (counts == (1,))  # where they are one step


@pytest.mark.parametrize("K", [1, 2, 5])
def test_one_step_holds_the_activations_of_one_evaluation(K):
    """Rows that autograd keeps, of a batch whose steps occur equally often."""
    held = {}
    for way in ("last", "all"):
        rows, student = [], Learner()
        student.register_forward_hook(lambda _, z, out, rows=rows: rows.append(
            len(out) * out.requires_grad))  # fmt: skip
        method = TDM(SCHEDULE, steps=K, backpropagate=way)
        method.rollout(student, method.start(40, (3,), generator(1)))
        held[way] = sum(rows)
    assert held == {"last": 40, "all": 40 * (K + 1) / 2}


@pytest.mark.parametrize("K", [4, 8])
def test_a_matched_student_belongs_to_its_solver(K):
    """Points of the right variance, so steps as matched under DDIM: what predicts them?"""
    lam, problem, kept = 5.0, LinearTDM(SCHEDULE, 5.0, (K,)), {}
    size = marginal_variance(SCHEDULE, lam) ** 0.5
    one, ends = torch.ones(1, 1), [*problem.steps, (40, 40)]
    steps = list(zip(problem.steps, problem.predictions(problem.matched_student()), strict=True))
    for solver in ("ddim", "dpm++"):
        slopes, before = {}, 0.0
        for k, ((i, u), h) in reversed(list(enumerate(steps))):
            gain = 1.0  # of what is taken, by what is predicted
            if solver == "dpm++":
                gain = float(extrapolate(one, 0 * one, ends[k + 1][1], u, i, SCHEDULE))
            before = (h * size[u] + (gain - 1) * before) / gain
            slopes[u] = before / size[u]
        kept[solver] = [
            float(sample(lambda z, t, _, h=slopes: h[t] * z, one, K, SCHEDULE, solver=by)) ** 2
            for by in ("ddim", "dpm++")
        ]
    assert kept["ddim"][0] == pytest.approx(lam, abs=1e-9) == kept["dpm++"][1]
    assert 1.05 < kept["ddim"][1] / lam < 1.2 and 0.8 < kept["dpm++"][0] / lam < 0.96


@pytest.mark.parametrize("lam", [0.2, 5.0])
@pytest.mark.parametrize("off", [0, 1])
def test_a_loss_one_level_off_asks_for_the_law_of_the_level_it_assumes(lam, off):
    """Of a point that has it, the loss sees the teacher's law at each τ: there it rests."""
    variance, method = torch.from_numpy(marginal_variance(SCHEDULE, lam)), TDM(SCHEDULE, margin=2)
    for low, upper in pairwise(method.grid):
        i = low + off * (low > 0)
        x_i = torch.tensor([[1.0], [0.0]]) * variance[i] ** 0.5
        rollout = Rollout(x_i, x_i, x_i, torch.full((2,), i), torch.full((2,), upper))
        for u in (0.0, 0.5, 0.99):
            noise = torch.tensor([[0.0], [1.0]])
            x_tau, tau = method.diffused(rollout, Renoise(torch.full((2,), u), noise))
            assert torch.isclose(x_tau.square().sum(), variance[tau[0]], rtol=1e-9)


def test_both_ways_of_backpropagation_are_one_update_at_one_step():
    student, teacher = Learner(), GaussianDenoiser(SCHEDULE, 0.5)
    last, every = (
        objectives(TDM(SCHEDULE, steps=1, backpropagate=b), student, bent, teacher)
        for b in ("last", "all")
    )
    for a, b in zip(last, every, strict=True):
        assert torch.allclose(a, b)


@pytest.mark.parametrize("K", [1, 2, 4])
def test_random_landings_fill_the_interval_evenly(K):
    method = TDM(SCHEDULE, steps=K, landing="random", margin=2, headroom=1)
    start = method.start(20_000, (1,), generator(8))
    rollout = method.rollout(bent, start)
    for k, (low, high) in enumerate(pairwise(method.grid)):
        found = rollout.i[start.step == k].bincount(minlength=41)
        allowed = high - 3 - low + 1
        expected = 20_000 / K / allowed
        assert found[low : high - 2].sum() == found.sum()
        assert (found[low : high - 2] - expected).abs().max() < 5 * expected**0.5


def test_a_start_without_a_count_takes_the_most_steps():
    method = TDM(SCHEDULE, counts=(2, 4), guidance=(1, 2))
    noise, step = torch.randn(4, 3, generator=generator(9)), torch.arange(4)
    guidance = torch.ones(4)
    student = Learner(told=True)
    bare = method.rollout(student, Start(noise, step, guidance=guidance))
    named = method.rollout(student, Start(noise, step, torch.full((4,), 4), guidance=guidance))
    assert torch.equal(bare.x_i, named.x_i) and torch.equal(bare.count, named.count)


def test_a_student_is_sampled_as_it_was_trained():
    method, noise = TDM(SCHEDULE, counts=(2, 4), guidance=(1, 5)), torch.randn(6, 3)
    student = Learner(told=True)
    by_hand = sample(student, noise, 2, SCHEDULE, Condition(None, 2, 3.0))
    ours = method.sample(student, noise, steps=2, guidance=3.0)
    assert torch.equal(ours, by_hand) and not ours.requires_grad
    for wrong, says in (
        (dict(steps=3, guidance=2.0), "K = 3: the student learns K = 2, 4"),
        (dict(steps=2), r"guidance = None: the student learns within 1.0 … 5.0"),
    ):
        with pytest.raises(InputError, match=says):
            method.sample(student, noise, **wrong)
    with pytest.raises(InputError, match="learns none"):
        TDM(SCHEDULE).sample(bent, noise, guidance=2.0)


@pytest.mark.parametrize(
    ("choice", "says"),
    [({"counts": ()}, "name the step counts"), ({"counts": (0, 2)}, "K = 0"),
     ({"counts": (2, 50)}, "1 … 40"), ({"counts": (1, 2), "steps": 4}, "name one of them"),
     ({"shares": (1, 2)}, "of which counts"), ({"counts": (1, 2), "shares": 3}, "give one for"),
     ({"counts": (1, 2), "shares": (1,)}, "give one for each"),
     ({"counts": (1, 2), "shares": (1, 0.5)}, "share = 0.5"),
     ({"counts": (2, 1), "shares": (1, 2)}, "in rising order"),
     ({"counts": range(2, 0, -1), "shares": (1, 2)}, "in rising order"),
     ({"counts": (1, 2), "shares": {1: 2, 2: 1}}, "give one for each"),
     ({"counts": (1, 2), "shares": np.array(3)}, "give one for each"),
     ({"counts": np.array(4)}, "name them in a list"),
     ({"guidance": (3, 1)}, "the lowest and the highest"), ({"guidance": (1,)}, "the lowest"),
     ({"guidance": ("1", 2)}, "guidance = '1'"), ({"solver": "euler"}, "ddim, dpm"),
     ({"backpropagate": "some"}, "last, all"), ({"landing": "x"}, "grid, random"),
     ({"steps_aware": "fake"}, "both, student, neither"),
     ({"steps_aware": "neither"}, "of which K"),
     ({"counts": (1, 2), "steps": np.array([1, 2])}, "name one of them"),
     ({"counts": (1, 2), "steps": torch.tensor([4, 8])}, "name one of them")],
)  # fmt: skip
def test_bad_choices_are_refused(choice, says):
    with pytest.raises(InputError, match=says):
        FewSteps(SCHEDULE, **choice)


@pytest.mark.parametrize(
    ("step", "count", "says"),
    [([0, 0], [4, 3], "step = 0 of count = 3: .* K = 1, 2, 4"), ([0, 0], [9, 1], "count = 9"),
     ([3, 2], [4, 2], "step = 2 of count = 2"), ([0, 4], None, "step = 4 of count = 4"),
     ([7, 0], None, "step = 7"), ([0, -1], None, "step = -1"),
     ([0], None, r"step has shape \(1,\), expected \(2,\)"),
     ([0, 0], [1], r"count has shape \(1,\), expected \(2,\)"),
     ([0.0, 1.0], None, "steps are of type torch.float64"),
     ([True, False], None, "steps are of type torch.bool"),
     ([0, 0], [1.0, math.nan], "counts are of type torch.float64")],
)  # fmt: skip
def test_a_start_of_no_step_that_is_learnt_is_refused(step, count, says):
    method = TDM(SCHEDULE, counts=(1, 2, 4), steps_aware="neither")
    count = None if count is None else torch.tensor(count)
    start = Start(torch.zeros(2, 3), torch.tensor(step), count)
    with pytest.raises(InputError, match=says):
        method.rollout(bent, start)


@pytest.mark.parametrize(
    ("labels", "says"),
    [(torch.arange(5), "cond has 5 rows for 3 samples"), (torch.arange(2), "cond has 2 rows"),
     (np.arange(4), "cond has 4 rows"), ([0, 1, 2], r"cond = \[0, 1, 2\]: give an array"),
     ("cat", "cond = 'cat': give an array")],
)  # fmt: skip
def test_labels_of_another_number_than_the_samples_are_refused(labels, says):
    start = Start(torch.zeros(3, 2), torch.tensor([0, 1, 3]))
    with pytest.raises(InputError, match=says):
        TDM(SCHEDULE).rollout(bent, start, labels)


def test_one_label_may_stand_for_all_of_a_batch():
    def labelled(z, t, cond):
        return 0.5 * z + torch.as_tensor(cond).reshape(-1, 1)

    method = TDM(SCHEDULE, fake_target="stable", weight="none")
    start, renoise = method.start(8, (2,), generator()), method.renoise(8, (2,), generator())
    many = torch.full((8,), 3)
    whole = method.rollout(labelled, start, many)
    losses = [method.fake_objective(labelled, whole, renoise, many)[0]]
    for one in (3, torch.tensor(3), np.int64(3)):
        assert torch.equal(method.rollout(labelled, start, one).x_i, whole.x_i)
        losses.append(method.fake_objective(labelled, whole, renoise, one)[0])
    assert all(torch.equal(loss, losses[0]) for loss in losses)


@pytest.mark.parametrize("shape", [(), 5, None, (-1,), (2.5,), ("a",), "ab"])
def test_a_sample_to_draw_has_a_shape(shape):
    method = TDM(SCHEDULE)
    for draw in (method.start, method.renoise):
        with pytest.raises(InputError, match="shape = "):
            draw(3, shape, generator())
        assert draw(3, [2, 1], generator()).noise.shape == (3, 2, 1)


def test_a_random_landing_is_drawn_and_a_batch_is_counted():
    method = TDM(SCHEDULE, landing="random")
    with pytest.raises(InputError, match="the start names no landing"):
        method.rollout(bent, Start(torch.zeros(2, 3), torch.tensor([0, 1])))
    for landing in (1.5, -0.5, float("nan")):
        start = Start(torch.zeros(2, 3), torch.tensor([0, 1]), landing=torch.tensor([0.5, landing]))
        with pytest.raises(InputError, match="landing: numbers must lie"):
            method.rollout(bent, start)
    for batch, draw in product((-1, 2.5, None), (method.start, method.renoise)):
        with pytest.raises(InputError, match=f"batch = {batch}"):
            draw(batch, (3,), generator())


def test_shares_are_proportions_and_many_counts_have_a_long_cycle():
    method = FewSteps(SCHEDULE, counts=(1, 2, 4), shares=(2, 4, 8))
    assert method == FewSteps(SCHEDULE, counts=np.array([1, 2, 4]), shares=torch.tensor([1, 2, 4]))
    assert FewSteps(SCHEDULE, counts=range(1, 3), shares=(2, 4)).shares == (1, 2)
    start = FewSteps(cosine(1000), counts=range(1, 50)).start(98, (1,), generator())
    assert start.count.bincount().tolist() == [0] + 49 * [2]
    assert (start.step < start.count).all()


@pytest.mark.parametrize(
    ("asked", "says"),
    [({"steps": [4]}, r"K = \[4\]: must be a whole number"), ({"steps": "4"}, "K = '4'"),
     ({"guidance": 9.0}, "guidance = 9.0: .* 1.0 … 5.0"), ({"guidance": np.nan}, "guidance")],
)  # fmt: skip
def test_a_sample_is_asked_for_in_numbers(asked, says):
    method = TDM(SCHEDULE, counts=(2, 4), guidance=(1, 5))
    with pytest.raises(InputError, match=says):
        method.sample(bent, torch.zeros(2, 3), **{"guidance": 2.0, **asked})
