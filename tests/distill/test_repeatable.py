import pytest
import torch

from tdmlib.distill.repeatable import check_optimizer, keyed_generator, warm_average, warm_cosine
from tdmlib.errors import InputError


def test_generators_follow_from_their_keys_alone():
    def draw(*key):
        return torch.rand(4, generator=keyed_generator("cpu", *key))

    assert torch.equal(draw(3, 5), draw(3, 5))
    assert len({tuple(draw(seed, n).tolist()) for seed in range(4) for n in range(4)}) == 16


def test_rates_and_averages():
    rate = warm_cosine(10, 100, 0.1)
    assert rate(0) == pytest.approx(0.1, rel=1e-3) and rate(100) == pytest.approx(0.1)
    assert max(rate(n) for n in range(101)) > 0.95
    averaged, values = [torch.zeros(1)], [float(n) for n in range(1, 8)]
    expected, update = 0.0, warm_average(0.5)
    for n, value in enumerate(values):
        update(averaged, [torch.tensor([value])], torch.tensor(n))
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
        assert torch.allclose(averaged[0], torch.tensor([expected]))


def test_an_optimizer_that_refuses_its_settings_is_named():
    def adam(rate):
        return lambda parameters: torch.optim.Adam(parameters, lr=rate)

    good = adam(0.5)
    assert check_optimizer("adam", good) is good
    with pytest.raises(InputError, match="adam refuses its settings"):
        check_optimizer("adam", adam(-1.0))
