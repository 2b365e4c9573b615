"""Experts: who serves which sample, that each is a network of its own, and the file."""

import math

import numpy as np
import pytest
import torch

from tdmlib.denoisers import Condition, FromV
from tdmlib.distill.tdm import TDM
from tdmlib.errors import InputError
from tdmlib.models import CountExperts, ResidualMLP, StepExperts, load_denoiser, save_denoiser
from tdmlib.schedules import cosine

T, COUNTS = 20, (1, 2, 5)
GRIDS = TDM(cosine(T), counts=COUNTS).grids


def random(network, seed=0):
    torch.manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def plain(**told):
    return ResidualMLP((2,), T, 3, width=8, blocks=1, **told)


def several():
    return random(StepExperts(plain(), GRIDS).aware(counts=COUNTS))


def test_each_sample_meets_the_expert_of_its_step():
    experts, t = several(), torch.arange(T + 1)
    z = torch.randn(len(t), 2)
    first = 0
    for grid in GRIDS:
        K = len(grid) - 1
        found = experts(z, t, Condition(None, K))
        for n, level in enumerate(t.tolist()):
            k = next(k for k in range(K) if level <= grid[k + 1])  # t_k < t ≤ t_{k+1}
            alone = experts.experts[first + k](z[n : n + 1], t[n : n + 1])
            assert torch.allclose(found[n], alone[0], atol=1e-6)
        first += K
    assert first == len(experts.experts)


def test_with_one_for_each_count_all_levels_meet_the_same():
    experts, z, t = (
        random(CountExperts(plain(), COUNTS)),
        torch.randn(T + 1, 2),
        torch.arange(T + 1),
    )
    for n, K in enumerate(COUNTS):
        assert torch.allclose(
            experts(z, t, Condition(None, K)), experts.experts[n](z, t), atol=1e-6
        )
    mixed = torch.tensor(COUNTS).repeat(7)
    for n, row in enumerate(experts(z, t, Condition(None, mixed))):
        alone = experts.experts[COUNTS.index(mixed[n])](z[n : n + 1], t[n : n + 1])
        assert torch.allclose(row, alone[0], atol=1e-6)


def test_counts_and_labels_may_differ_from_row_to_row():
    experts, z = several(), torch.randn(6, 2)
    t, K = torch.tensor([20, 20, 20, 4, 12, 11]), torch.tensor([1, 2, 5, 5, 5, 2])
    label = torch.tensor([0, 1, 2, 3, 0, 1])
    both = experts(z, t, Condition(label, K))
    for n in range(6):
        one = experts(z[n : n + 1], t[n : n + 1], Condition(label[n : n + 1], int(K[n])))
        assert torch.allclose(both[n], one[0], atol=1e-6)


def test_no_step_moves_the_weights_of_another():
    experts, z = several(), torch.randn(4, 2)
    experts(z, torch.full((4,), 12), Condition(None, 5)).square().sum().backward()
    moved = [any(p.grad is not None for p in expert.parameters()) for expert in experts.experts]
    assert moved == [n == 1 + 2 + 2 for n in range(8)]  # step 2 of 5 goes from level 12 to 8


def test_copies_start_as_the_network_and_are_told_the_rest():
    one, z, t = random(plain()), torch.randn(5, 2), torch.tensor([0, 1, 8, 9, 20])
    before = StepExperts(one, GRIDS[-1:])
    assert torch.allclose(before(z, t), one(z, t), atol=1e-6)
    told = StepExperts(one, GRIDS).aware(counts=[5, 1, 2], guidance=(1, 4), origin=True)
    assert told.guidance and told.origin and told.counts == list(COUNTS)
    cond = Condition(None, 2, 3.0, torch.tensor([0, 0, 3, 3, 9]))
    assert torch.allclose(told(z, t, cond), one(z, t), atol=1e-6)


@pytest.mark.parametrize("make", [several, lambda: random(CountExperts(plain(), COUNTS))])
def test_the_file_brings_all_of_them_back(tmp_path, make):
    one = FromV(make(), cosine(T)).eval()
    other = load_denoiser(save_denoiser(tmp_path / "experts.safetensors", one))
    z, t = torch.randn(6, 2), torch.tensor([20, 20, 16, 5, 1, 0])
    cond = Condition(torch.tensor([0, 1, 2, 3, 1, 1]), torch.tensor([1, 2, 5, 5, 2, 1]))
    assert torch.equal(one(z, t, cond), other(z, t, cond))


@pytest.mark.parametrize(
    ("grids", "says"),
    [
        ([], "one grid of K ≥ 1"), ([(0,)], "one grid of K ≥ 1"),
        ([(0, 10, 20), (0, 5, 20)], "one grid of K ≥ 1"),
        ([(0, 10)], "from 0 to T = 20"), ([(1, 20)], "from 0 to T = 20"),
        ([(0, 12, 12, 20)], "must rise"), ((0, 10, 20), "a list of grids"), (4, "a list of grids"),
        (None, "a list of grids"), (["ab"], "a list of grids"),
        ([(0, math.nan, 20)], "level = nan"),
        ([(0, math.inf)], "level = inf"), ([(0, 10.7, 20)], "level = 10.7"),
        ([(0, "10", 20)], "level = '10'"),
    ],
)  # fmt: skip
def test_grids_that_are_none_are_refused(grids, says):
    with pytest.raises(InputError, match=says):
        StepExperts(plain(), grids)


@pytest.mark.parametrize(
    ("t", "cond"),
    [(3, 1), (torch.tensor([3.0, 17.0]), None), (torch.tensor([3, 17], dtype=torch.uint8), [0, 2]),
     (12, np.int64(2)), (12, Condition(1, None, 2.5, 3)), (4, Condition([1, 0], None, [1, 3], 0))],
)  # fmt: skip
def test_it_takes_what_the_network_takes(t, cond):
    told = {} if not isinstance(cond, Condition) else dict(guidance=(1, 4), origin=True)
    one, z = random(plain(**told)), torch.randn(2, 2)
    experts = StepExperts(one, GRIDS[-1:])
    assert torch.allclose(experts(z, t, cond), one(z, torch.as_tensor(t), cond), atol=1e-6)


def test_ends_of_a_range_are_within_it_in_double_precision_too():
    one = random(plain(guidance=(1, 1.7))).double()
    experts, z = StepExperts(one, GRIDS[-1:]).double(), torch.randn(2, 2).double()
    cond = Condition(None, guidance=1.7)
    assert torch.allclose(experts(z, 3, cond), one(z, torch.tensor([3, 3]), cond))


@pytest.mark.parametrize("cond", [torch.zeros(4).long(), [0], torch.zeros(5, 1).long(), "x"])
def test_it_refuses_what_the_network_refuses(cond):
    one, z, t = plain(), torch.randn(2, 2), torch.tensor([3, 20])
    says = []
    for network in (one, StepExperts(one, GRIDS[-1:])):
        with pytest.raises(InputError) as error:
            network(z, t, cond)
        says.append(str(error.value))
    assert says[0] == says[1]
    with pytest.raises(InputError, match=r"the network takes \(2,\)"):
        StepExperts(one, GRIDS)(torch.zeros(0, 3), t[:0])


def test_what_it_is_told_must_be_what_its_grids_know():
    z, t, untold = torch.randn(2, 2), torch.tensor([3, 20]), StepExperts(plain(), GRIDS)
    for ask, says in (
        (lambda: StepExperts(plain(counts=(1, 2)), GRIDS), "a ResidualMLP that is not told K"),
        (lambda: StepExperts(torch.nn.Linear(2, 2), GRIDS), "a ResidualMLP that is not told K"),
        (lambda: StepExperts(untold, GRIDS), "a ResidualMLP that is not told K"),
        (lambda: StepExperts({"foo": 1}, GRIDS), "settings of a network: .*foo"),
        (lambda: untold.aware(counts=(1, 2)), r"counts = \(1, 2\), but its experts"),
        (lambda: CountExperts(plain(counts=(1, 2)), (1, 2)), "a ResidualMLP that is not told K"),
        (lambda: CountExperts(plain(), ()), "name the step counts"),
        (lambda: CountExperts(plain(), (1, 2)).aware(counts=(1, 4)), "but its experts"),
        (lambda: CountExperts(plain(), (1, 2))(z, t), "told steps: name it"),
        (lambda: CountExperts(plain(), (1, 2))(z, t, Condition(None, 3)), "K = 3: the network"),
        (lambda: untold(z, t), "tell it K"),
        (lambda: untold(z, t, Condition(None, 2)), "not told steps: leave steps out"),
        (lambda: several()(z, t), "told steps: name it"),
        (lambda: several()(z, t, Condition(None, torch.tensor([1, 1, 1]))), "steps has shape"),
        (lambda: several()(z, torch.tensor([3, 21]), Condition(None, 5)), "t = 21"),
        (lambda: several()(z, t, Condition(None, 3)), "K = 3: the network has learnt K = 1, 2, 5"),
        (lambda: several()(z, t, Condition(None, torch.tensor([5, 4]))), "K = 4: the network"),
    ):
        with pytest.raises(InputError, match=says):
            ask()
