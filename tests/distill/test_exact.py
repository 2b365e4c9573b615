import math

import pytest
import torch

from tdmlib.denoisers import FromV, MixtureDenoiser
from tdmlib.distill.exact import mixture_distillation, mixture_start, train
from tdmlib.distill.lit import ScoreDistillation
from tdmlib.distill.tdm import TDM
from tdmlib.errors import InputError
from tdmlib.metrics.quasi import quasi_noise, quasi_sample
from tdmlib.metrics.swd import sliced_wasserstein
from tdmlib.mixtures import GaussianMixture
from tdmlib.models import ResidualMLP, load_denoiser, save_denoiser
from tdmlib.sampling import sample
from tdmlib.schedules import cosine

PAIR = GaussianMixture.round_modes(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 0.04)


def two_steps(schedule):
    return TDM(schedule, steps=2)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def test_a_student_starts_as_its_exact_teacher_and_passes_its_few_steps():
    run = mixture_distillation(
        PAIR, two_steps, cosine(40), updates_per_epoch=100, batch_size=128, warmup=10
    )
    z, real, exact = (
        quasi_noise(4096, 2),
        quasi_sample(PAIR, 4096),
        MixtureDenoiser(cosine(40), PAIR),
    )
    before = run.method.sample(run.student, z)
    assert torch.equal(before, sample(exact, z, 2, cosine(40)))
    after = train(run).method.sample(run.average.module, z)
    assert int(run.update) == 100 and run.calls == 1
    assert sliced_wasserstein(after, real, 32) < 0.6 * sliced_wasserstein(before, real, 32)


def test_steps_with_networks_of_their_own_start_as_the_teacher_and_learn():
    grids = TDM(cosine(40), counts=(1, 2)).grids
    start = mixture_start(PAIR, cosine(40), grids=grids)
    run = mixture_distillation(
        PAIR, lambda schedule: TDM(schedule, counts=(1, 2)), cosine(40), start=start,
        rate=1e-3, fake_rate=3e-3, updates_per_epoch=150, batch_size=192, warmup=10,
    )  # fmt: skip
    z, real = quasi_noise(4096, 2), quasi_sample(PAIR, 4096)
    exact = MixtureDenoiser(cosine(40), PAIR)
    before = [sample(exact, z, K, cosine(40)) for K in (1, 2)]
    for K, x in zip((1, 2), before, strict=True):
        assert torch.equal(run.method.sample(run.student, z, steps=K), x)
    train(run)
    for K, x in zip((1, 2), before, strict=True):
        after = run.method.sample(run.average.module, z, steps=K)
        assert sliced_wasserstein(after, real, 32) < 0.6 * sliced_wasserstein(x, real, 32)


def test_networks_start_alike_whatever_was_drawn_before():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, two, other = (mixture_start(PAIR, cosine(8), seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.network.first.weight, two.network.first.weight)
    assert not torch.equal(one.network.first.weight, other.network.first.weight)


def test_a_teacher_without_a_network_needs_a_start_which_may_be_a_file(tmp_path):
    schedule = cosine(8)
    teacher = MixtureDenoiser(schedule, PAIR)
    with pytest.raises(InputError, match="MixtureDenoiser holds no network"):
        ScoreDistillation(teacher, two_steps, sgd, sgd)
    network = FromV(ResidualMLP((2,), 8, 1, width=8, blocks=1), schedule)
    torch.nn.init.normal_(network.network.last.weight)
    path = str(save_denoiser(tmp_path / "start.safetensors", network))
    run, z = ScoreDistillation(teacher, two_steps, sgd, sgd, start=path), torch.randn(3, 2)
    for copy in (run.student, run.fake, run.average.module):
        assert torch.equal(copy(z, 5), load_denoiser(path)(z, 5))
    assert torch.equal(run.teacher(z, 5), teacher(z, 5))


def test_the_teacher_and_what_it_starts_are_left_as_they_were():
    start = mixture_start(PAIR, cosine(8))
    with pytest.raises(InputError, match="start is a network already"):
        mixture_distillation(PAIR, TDM, cosine(8), start=start, network={"width": 8})
    seeded = mixture_distillation(PAIR, TDM, cosine(8), network={"seed": 1})
    one = mixture_start(PAIR, cosine(8), seed=1).network.combinations
    assert torch.equal(seeded.student.network.combinations, one)
    apart = mixture_start(PAIR, cosine(8), grids=[(0, 2, 8)])
    with pytest.raises(InputError, match="the experts have grids"):
        ScoreDistillation(start, two_steps, sgd, sgd, start=apart)
    run = ScoreDistillation(start, two_steps, sgd, sgd, updates_per_epoch=3, warmup=0)
    train(run)
    z = torch.randn(3, 2)
    assert torch.equal(run.teacher(z, 5), start.base(z, 5))
    assert not torch.equal(run.student(z, 5), start.base(z, 5))


@pytest.mark.parametrize("t", [100, 400, 700, 1000])
def test_wrong_shares_show_where_modes_overlap(t):
    schedule, lam, delta = cosine(1000), 0.04, 1e-4
    means = torch.tensor([[0.8, 0.0], [-0.2, 0.5]], dtype=torch.float64)
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    odds = torch.tensor([delta, 0.0], dtype=torch.float64).exp()
    right, wrong = (GaussianMixture.round_modes(means, lam, w) for w in (weights, weights * odds))
    alpha, sigma = schedule.alpha[t], schedule.sigma[t]
    noise = torch.randn(2**15, 2, generator=torch.Generator().manual_seed(0)).double()
    z = alpha * right.sample(2**15) + sigma * noise
    gap = (MixtureDenoiser(schedule, wrong)(z, t) - MixtureDenoiser(schedule, right)(z, t)) / delta
    r, v = right.responsibilities(z, alpha, sigma)[:, 0], alpha**2 * lam + sigma**2
    front = sigma**2 / v * (means[0] - means[1])
    assert torch.allclose(gap, (r * (1 - r))[:, None] * front, rtol=1e-3, atol=1e-9)
    D2 = float((means[0] - means[1]).square().sum())
    bound = 0.5 * D2**0.5 * sigma**2 / v * (0.3 * 0.7) ** 0.5 * math.exp(-(alpha**2) * D2 / 8 / v)
    assert float(gap.norm(dim=1).mean()) <= bound * 1.01  # by chance
