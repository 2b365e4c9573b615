import numpy as np
import pytest
import torch
from torch import nn

from tdmlib.denoisers import (
    Condition,
    Corrected,
    FromEpsilon,
    FromFlow,
    FromV,
    GaussianDenoiser,
    Guided,
    MixtureDenoiser,
)
from tdmlib.errors import InputError
from tdmlib.mixtures import GaussianMixture
from tdmlib.models import ResidualMLP
from tdmlib.schedules import Schedule, cosine

SCHEDULE = Schedule(*(f(np.linspace(0.1, 1.4, 9)) for f in (np.cos, np.sin)))  # α_T > 0, σ_0 > 0


class Oracle(nn.Module):
    """A network that knows x and ε and answers in one parameterisation."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.seen = answer, None

    def forward(self, z, t, cond):
        self.seen = z
        return self.answer


@pytest.mark.parametrize("t", [3, torch.tensor([1, 4, 8])])
def test_every_parameterisation_gives_back_the_clean_sample(t):
    x, eps = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alpha, sigma = SCHEDULE.at(t, x)
    z = alpha * x + sigma * eps
    flow = Oracle(eps - x)
    for denoiser in (
        FromEpsilon(Oracle(eps), SCHEDULE),
        FromV(Oracle(alpha * eps - sigma * x), SCHEDULE),
        FromFlow(flow, SCHEDULE),
    ):
        assert torch.allclose(denoiser(z, t), x)
    r = sigma / (alpha + sigma)
    assert torch.allclose(flow.seen, (1 - r) * x + r * eps)


def test_the_gaussian_denoiser_is_the_mixture_with_one_component():
    lam, mean = torch.tensor([0.3, 2.0]), torch.tensor([1.0, -1.0])
    mixture = GaussianMixture(torch.ones(1), mean[None], torch.diag(lam)[None])
    z, t = torch.randn(5, 2), torch.tensor([0, 2, 4, 6, 8])
    one, other = GaussianDenoiser(SCHEDULE, lam, mean), MixtureDenoiser(SCHEDULE, mixture)
    assert torch.allclose(one(z, t), other(z, t), atol=1e-5)
    array = GaussianDenoiser(SCHEDULE, lam.numpy(), mean.numpy())(z.numpy(), t.numpy())
    assert np.allclose(array, one(z, t), atol=1e-6)


def test_guidance_extrapolates_and_one_is_free():
    calls = []

    def denoiser(z, t, cond=None):
        calls.append(cond)
        return z * 0 + (2.0 if cond == "cat" else 1.0)

    z = torch.zeros(2, 3)
    assert (Guided(denoiser, 3.0, null="")(z, 1, "cat") == 1 + 3 * (2 - 1)).all()
    assert calls == ["cat", ""]
    assert (Guided(denoiser, 1)(z, 1, "cat") == 2).all()
    assert calls[2:] == ["cat"]


def test_guidance_may_be_a_part_of_the_condition_sample_by_sample():
    calls = []

    def denoiser(z, t, cond=None):
        calls.append(cond)
        label = Condition.of(cond).label
        return z * 0 + (1.0 if label is None else label[:, None])

    z, label = torch.zeros(3, 2), torch.tensor([2.0, 3.0, 4.0])
    scale, K = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([1, 2, 4])
    guided = Guided(denoiser, 9.0)
    found = guided(z, 1, Condition(label, guidance=scale))
    assert torch.equal(found, (1 + scale * (label - 1))[:, None].expand(3, 2))
    assert calls[0] is label and calls[1] is None  # the teacher inside sees labels alone
    assert torch.equal(guided(z, 1, Condition(label, K, 5.0)), (5 * label - 4)[:, None] + z)
    assert [(c.steps is K, c.guidance) for c in calls[2:]] == [(True, None)] * 2
    assert torch.equal(guided(z, 1, label), (9 * label - 8)[:, None] + z)


def test_conditions_are_taken_apart_by_rows():
    cond = Condition(torch.arange(4), steps=torch.tensor([1, 2, 4, 8]), guidance=3.0)
    some = cond[torch.tensor([2, 0])]
    assert some.label.tolist() == [2, 0] and some.steps.tolist() == [4, 1] and some.guidance == 3
    assert cond[1:3].label.tolist() == [1, 2]
    label = torch.arange(3)
    assert Condition.of(label).bare() is label and Condition.of(cond) is cond is cond.bare()
    assert Condition.of(None).bare() is None and Condition(None)[:2] == Condition()
    for one in (np.float32(2), np.int64(2), torch.tensor(2), 2.0):
        kept = Condition(torch.arange(4), guidance=one)[torch.tensor([3])]
        assert kept.guidance is one and kept.label.tolist() == [3]


@pytest.mark.parametrize("w", [1.2, 1.6, 3.5])
def test_a_guided_score_belongs_to_no_data(w):
    """The variance of data that would have the guided score at a level, class 1, all data 3."""
    lam_c, lam_0, schedule = 1.0, 3.0, cosine(1000)
    labelled = lambda z, t, cond: GaussianDenoiser(schedule, lam_0 if cond is None else lam_c)(z, t)  # noqa: E731
    implied = []
    for t in (1, 300, 700, 999):
        z = torch.tensor([[0.0], [1.0]]).double()
        alpha, sigma = schedule.alpha[t], schedule.sigma[t]
        score = (alpha * Guided(labelled, w)(z, t, 0) - z) / sigma**2
        implied.append(float((1 / (score[0] - score[1]) - sigma**2) / alpha**2))
    assert (np.diff(implied) < -1e-3).all()
    assert implied[0] == pytest.approx(1 / (w / lam_c - (w - 1) / lam_0), rel=1e-4)
    assert implied[-1] == pytest.approx(w * lam_c - (w - 1) * lam_0, abs=1e-3)
    assert (implied[-1] < 0) == (w > lam_0 / (lam_0 - lam_c))


def test_bad_variances_and_guidance_are_refused():
    for lam in (-1.0, np.nan, np.inf, np.array([1.0, -1.0]), torch.tensor([np.nan])):
        with pytest.raises(InputError, match="λ"):
            GaussianDenoiser(SCHEDULE, lam)
    for scale in (np.nan, np.inf, "2"):
        with pytest.raises(InputError, match="guidance"):
            Guided(GaussianDenoiser(SCHEDULE, 1.0), scale)
    for lam, mean in (([1.0, 2], 0.0), ("1", 0.0), (None, 0.0), (1.0, [0.0, 1.0])):
        with pytest.raises(InputError, match=r"(λ|mean) = .* give a number, an array or a tensor"):
            GaussianDenoiser(SCHEDULE, lam, mean)
    with pytest.raises(InputError, match=r"λ = .*a"):
        GaussianDenoiser(SCHEDULE, np.array(["a"]))
    for mean in (np.nan, -np.inf, torch.tensor([0.0, np.nan]), np.array(["a"])):
        with pytest.raises(InputError, match=r"mean = .*: must be finite"):
            GaussianDenoiser(SCHEDULE, 1.0, mean)


@pytest.mark.parametrize("array", [np.ones, torch.ones])
def test_a_gaussian_denoiser_keeps_the_shape_of_its_samples(array):
    for lam, mean in ((array((4, 1, 2)), 0.0), (1.0, array((5, 1, 2)))):
        with pytest.raises(InputError, match=r"samples of shape \(3, 2\) to \([45], 3, 2\)"):
            GaussianDenoiser(SCHEDULE, lam, mean)(array((3, 2)), 3)
    assert GaussianDenoiser(SCHEDULE, array((3, 1)), array(2))(array((3, 2)), 3).shape == (3, 2)


@pytest.mark.parametrize(
    ("scale", "says"),
    [(np.nan, "guidance = nan"), ("2", "guidance = '2'"), (np.ones(3), "guidance = array"),
     (torch.tensor([1.0, np.nan, 2.0]), "guidance holds NaN"), (torch.tensor(np.inf), "infinity"),
     (torch.ones(2), r"guidance has shape \(2,\), expected \(3,\)"),
     (torch.ones(3, 1), r"guidance has shape \(3, 1\)")],
)  # fmt: skip
def test_a_condition_names_one_finite_scale_or_one_a_sample(scale, says):
    guided = Guided(GaussianDenoiser(SCHEDULE, 1.0))
    with pytest.raises(InputError, match=says):
        guided(torch.zeros(3, 2), 3, Condition(guidance=scale))
    assert guided(torch.ones(3, 2), 3, Condition(guidance=torch.tensor(2.0))).shape == (3, 2)


def test_a_noise_prediction_cannot_start_at_pure_noise():
    with pytest.raises(InputError, match="alpha_T = 0"):
        FromEpsilon(nn.Identity(), cosine(8))


@pytest.mark.parametrize("t", [0, [0, 5]])
def test_data_that_do_not_vary_are_their_mean_at_every_level(t):
    t = np.array(t)
    for array in (np.asarray, torch.tensor):
        z, lam, mean = array([[1.0, 2.0], [3.0, 4.0]]), array([0.0, 2.0]), array([1.5, 0.0])
        x = GaussianDenoiser(cosine(8), lam, mean)(z, array(t))
        assert np.allclose(x[:, 0], 1.5)
        assert np.allclose(x[0, 1], 2.0)  # at level 0 what does vary is known


def test_a_whole_level_reaches_the_network_as_an_integer():
    class Watch(Oracle):
        def forward(self, z, t, cond):
            self.t = t
            return super().forward(z, t, cond)

    for kind in (FromEpsilon, FromV, FromFlow):
        network = Watch(torch.zeros(2, 3))
        kind(network, SCHEDULE)(torch.ones(2, 3), 3.0)
        assert network.t.dtype == torch.int64 and network.t.tolist() == [3, 3]


class MatrixALevel(nn.Module):
    """z at level t times the t-th matrix."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(SCHEDULE.T + 1, 2, 2))

    def forward(self, z, t, cond=None):
        return torch.einsum("bij,bj->bi", self.weight[t], z)


@pytest.mark.parametrize(("kind", "lr", "off"), [("matrix", 0.05, 0.03), ("network", 0.01, 0.1)])
def test_denoising_score_matching_finds_the_optimal_denoiser(kind, lr, off):
    torch.manual_seed(0)
    lam, updates = torch.tensor([0.3, 3.0]), 800
    network = MatrixALevel() if kind == "matrix" else ResidualMLP((2,), 8, 1, 32, 1, 16)
    optimizer = torch.optim.Adam(network.parameters(), lr)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)

    def noisy(x, t):
        alpha, sigma = SCHEDULE.at(t, x)
        return alpha * x + sigma * torch.randn(x.shape)

    for _ in range(updates):
        x, t = lam.sqrt() * torch.randn(1024, 2), torch.randint(1, 9, (1024,))
        optimizer.zero_grad()
        (network(noisy(x, t), t) - x).square().mean().backward()
        optimizer.step()
        decay.step()
    optimal = GaussianDenoiser(SCHEDULE, lam)
    for level in (1, 3, 5, 8):
        t = torch.full((10_000,), level)
        z = noisy(lam.sqrt() * torch.randn(10_000, 2), t)
        with torch.no_grad():
            found = network(z, t)
        slopes = torch.linalg.lstsq(z, found).solution
        assert torch.allclose(slopes, torch.diag((optimal(z, t) / z)[0]), atol=off)
        assert ((found - optimal(z, t)).square().mean(0) < off**2 * lam).all()


def test_a_mixture_moves_with_its_samples():
    mixture = GaussianMixture.round_modes(torch.tensor([[1.0, 0.0], [-1.0, 0.5]]), 0.04)
    denoiser = MixtureDenoiser(SCHEDULE, mixture)
    found = denoiser(torch.zeros(5, 2, device="meta"), 3)
    assert (found.shape, found.device.type) == ((5, 2), "meta")
    assert mixture.means.device.type == "cpu" and mixture.to("cpu").sample(3, seed=0).shape == (
        3,
        2,
    )


def test_a_corrected_denoiser_is_its_base_until_the_network_learns():
    mixture = GaussianMixture.round_modes(torch.tensor([[1.0, 0.0], [-1.0, 0.5]]), 0.04)
    base = MixtureDenoiser(SCHEDULE, mixture)
    network = ResidualMLP((2,), SCHEDULE.T, 1, width=8, blocks=1)
    corrected, z = Corrected(network, base), torch.randn(5, 2)
    t = torch.tensor([1, 2, 3, 4, SCHEDULE.T])
    assert torch.equal(corrected(z, t), base(z, t))
    torch.nn.init.ones_(network.last.bias)
    sigma = SCHEDULE.at(t, z)[1]
    assert torch.allclose(corrected(z, t) - base(z, t), sigma.expand(5, 2))
    told = corrected.aware(counts=(1, 2))
    K = Condition(steps=torch.tensor([1, 1, 2, 2, 1]))
    assert torch.allclose(told(z, t, K), corrected(z, t)) and corrected.network.counts is None
