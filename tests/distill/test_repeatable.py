import pytest
import torch

from tdmlib.distill.repeatable import WarmAverage, check_optimizer, keyed_generator, warm_cosine
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
    network = torch.nn.BatchNorm1d(1)  # it has buffers, too
    average, expected = WarmAverage(network, 0.5), 0.0
    assert not any(p.requires_grad for p in average.parameters())
    for n, value in enumerate(range(1, 8)):
        network.weight.data.fill_(value)
        network.running_mean.fill_(value)
        average.update_parameters(network)
        decay = min(0.5, (1 + n) / (10 + n)) if n else 0.0
        expected = decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected)
        assert average.module.running_mean.item() == value and int(average.n_averaged) == n + 1
    (network, average), another = (m.double() for m in (network, average)), torch.nn.BatchNorm1d(1)
    for model, mean in ((network, 50.0), (another.double(), 60.0)):
        model.running_mean.fill_(mean)
        average.update_parameters(model)
        assert average.module.running_mean.item() == mean


def test_an_optimizer_that_refuses_its_settings_is_named():
    def adam(rate):
        return lambda parameters: torch.optim.Adam(parameters, lr=rate)

    good = adam(0.5)
    assert check_optimizer("adam", good) is good
    with pytest.raises(InputError, match="adam refuses its settings"):
        check_optimizer("adam", adam(-1.0))
