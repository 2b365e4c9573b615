import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tdmlib.distill.even import EvenTDM
from tdmlib.distill.tdm import TDM
from tdmlib.errors import InputError
from tdmlib.schedules import cosine

SCHEDULE = cosine(100)


def draws(method, batch, seeds):
    """Start noise and renoise of many batches: (seeds, batch, …)."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
    starts = [method.start(batch, (2,), g) for g in generators]
    return starts, [method.renoise(batch, (2,), g) for g in generators]


@pytest.mark.parametrize("kind", [TDM, EvenTDM])
def test_every_step_of_every_count_occurs_equally_often(kind):
    start = kind(SCHEDULE, counts=(1, 2, 4)).start(96, (2,), torch.Generator().manual_seed(0))
    found = torch.stack([start.count, start.step], dim=1).unique(dim=0, return_counts=True)
    pairs = {tuple(row.tolist()): int(n) for row, n in zip(*found, strict=True)}
    assert pairs == {(K, k): 32 // K for K in (1, 2, 4) for k in range(K)}


@pytest.mark.parametrize("kind", [TDM, EvenTDM])
def test_shares_say_how_often_each_count_is_drawn(kind):
    method = kind(SCHEDULE, counts=(1, 2, 4), shares=(1, 2, 4))
    start = method.start(84, (2,), torch.Generator().manual_seed(0))
    found = torch.stack([start.count, start.step], dim=1).unique(dim=0, return_counts=True)
    pairs = {tuple(row.tolist()): int(n) for row, n in zip(*found, strict=True)}
    assert pairs == {(K, k): 12 for K in (1, 2, 4) for k in range(K)}
    if kind is EvenTDM:  # each step of each count has consecutive points
        assert (start.step.diff() != 0).sum() + (start.count.diff() != 0).sum() < 2 * len(pairs)


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9)), min_size=1, max_size=4),
    st.integers(1, 60),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_a_batch_holds_each_count_within_one_and_a_half_of_its_share(pairs, batch, seed):
    counts, shares = zip(*sorted(dict(pairs).items()), strict=True)
    method = TDM(SCHEDULE, counts=counts, shares=shares)
    drawn = method.start(batch, (2,), torch.Generator().manual_seed(seed)).count
    for K, share in zip(counts, shares, strict=True):
        assert abs(int((drawn == K).sum()) - batch * share / sum(shares)) <= 1.5


@pytest.mark.parametrize("kind", [TDM, EvenTDM])
@pytest.mark.parametrize("batch", [1, 2, 5, 17])
def test_batches_that_hold_no_whole_cycle_train_every_step_as_often(kind, batch):
    method, generator = kind(SCHEDULE, counts=(1, 2, 3)), torch.Generator().manual_seed(0)
    starts = [method.start(batch, (2,), generator) for _ in range(18 * 2000 // batch)]
    drawn = torch.cat([torch.stack([s.count, s.step], dim=1) for s in starts])
    pairs, found = drawn.unique(dim=0, return_counts=True)
    assert [tuple(pair) for pair in pairs.tolist()] == [(K, k) for K in (1, 2, 3) for k in range(K)]
    expected = len(drawn) / 3 / pairs[:, 0]
    assert ((found - expected).abs() < 5 * expected.sqrt()).all()


def test_each_draw_has_the_law_of_tdm_and_each_step_its_own():
    """Of any place in a batch, over many batches: noise N(0, I), u uniform, none correlated."""
    starts, renoises = draws(EvenTDM(SCHEDULE), 16, 4000)
    z = torch.stack(
        [torch.cat([s.noise, r.noise], 1) for s, r in zip(starts, renoises, strict=True)]
    )
    u = torch.stack([r.u for r in renoises])
    every = torch.cat([z, (u[..., None] - 0.5) * math.sqrt(12)], dim=2)  # (4000, 16, 5)
    near = 5 / math.sqrt(len(every))
    assert every.mean(0).abs().max() < near
    second = torch.einsum("nbi,nbj->bij", every, every) / len(every)
    assert (second - torch.eye(5)).abs().max() < 2 * near


def test_the_mean_of_a_batch_varies_less_within_each_step():
    """What decides the shares of modes: how many draws of a step fall on one side."""

    def spread(kind):
        starts, renoises = draws(kind(SCHEDULE), 256, 60)
        sides = torch.stack([
            torch.stack([((s.noise[:, 0] > 0) & (r.noise[:, 0] > 0.5))[s.step == k].float().mean()
                         for k in range(4)])
            for s, r in zip(starts, renoises, strict=True)
        ])  # fmt: skip
        return sides.std(0)

    assert (spread(EvenTDM) < 0.6 * spread(TDM)).all()


def test_what_it_does_not_do_is_refused():
    with pytest.raises(InputError, match="take TDM"):
        EvenTDM(SCHEDULE, landing="random")
    with pytest.raises(InputError, match="take TDM"):
        EvenTDM(SCHEDULE, guidance=(1, 4))
    method, generator = EvenTDM(SCHEDULE), torch.Generator()
    for draw in (method.start, method.renoise):
        assert draw(0, (2,), generator).noise.shape == (0, 2)
        for shape in ((1, 8, 8), (0,), (101,), (2.5,), (True,), 3):
            with pytest.raises(InputError, match="samples of shape"):
                draw(8, shape, generator)
        assert draw(8, (2.0,), generator).noise.shape == (8, 2)
        for batch in (-1, 2.5, "3"):
            with pytest.raises(InputError, match="batch = "):
                draw(batch, (2,), generator)
