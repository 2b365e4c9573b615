import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tdmlib.denoisers import Condition, Corrected, FromEpsilon, FromFlow, FromV
from tdmlib.errors import InputError
from tdmlib.models import ResidualMLP, StepExperts, load_denoiser, save_denoiser
from tdmlib.models.told import check_labels
from tdmlib.models.weights import read_description
from tdmlib.schedules import cosine


def denoiser(seed=0, **config):
    torch.manual_seed(seed)
    network = ResidualMLP((1, 4, 4), T=20, classes=3, width=16, blocks=2, **config)
    for parameter in network.parameters():  # zero-initialised layers would hide mistakes
        torch.nn.init.normal_(parameter, std=0.3)
    return FromV(network, cosine(20)).eval()


def test_weights_come_back_with_network_schedule_and_prediction(tmp_path):
    one, z = denoiser(), torch.randn(5, 1, 4, 4)
    t, cond = torch.tensor([1, 5, 10, 19, 20]), torch.tensor([0, 1, 2, 3, 1])
    other = load_denoiser(save_denoiser(tmp_path / "new" / "w.safetensors", one, origin="test"))
    assert torch.equal(one(z, t, cond), other(z, t, cond))
    assert other.schedule == one.schedule and not other.training
    half = load_denoiser(save_denoiser(tmp_path / "half.safetensors", one, torch.float16))
    assert torch.allclose(one(z, t, cond), half(z, t, cond), atol=0.05)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["half.safetensors", "new"]


@pytest.mark.parametrize("kind", [FromEpsilon, FromFlow])
def test_every_prediction_comes_back(tmp_path, kind):
    one, z = kind(denoiser().network, cosine(41).sub(range(21))).eval(), torch.randn(2, 1, 4, 4)
    other = load_denoiser(save_denoiser(tmp_path / "w.safetensors", one))
    assert type(other) is kind and torch.equal(one(z, 7), other(z, 7))


def test_what_no_file_brings_back_is_not_saved(tmp_path):
    one = denoiser()
    for other in (Corrected(one.network, one), FromV(torch.nn.Linear(2, 2), one.schedule)):
        with pytest.raises(InputError, match="is unknown; choose one of"):
            save_denoiser(tmp_path / "w.safetensors", other)
    assert not list(tmp_path.iterdir())


def test_no_condition_is_the_empty_one_and_rows_are_independent():
    one, z, t = denoiser(), torch.randn(4, 1, 4, 4), torch.tensor([3, 9, 15, 20])
    assert torch.equal(one(z, t), one(z, t, torch.full((4,), 3)))
    assert not torch.allclose(one(z, t), one(z, t, torch.zeros(4).long()))
    assert torch.allclose(one(z, t)[2:], one(z[2:], t[2:]), atol=1e-6)
    assert torch.allclose(one(z, 9)[1], one(z, t)[1], atol=1e-6)


@pytest.mark.parametrize("told", [{"counts": (1, 2, 8)}, {"guidance": (1, 6)}, {"origin": True},
                                  {"counts": [8, 2, 1], "guidance": [1, 6]}])  # fmt: skip
def test_a_network_that_is_told_more_starts_as_the_one_it_is_made_of(tmp_path, told):
    one, z = denoiser(), torch.randn(5, 1, 4, 4)
    t, label = torch.tensor([1, 5, 10, 19, 20]), torch.tensor([0, 1, 2, 3, 1])
    state = torch.random.get_rng_state()
    other = FromV(one.network.aware(**told), one.schedule).eval()
    assert torch.equal(torch.random.get_rng_state(), state)
    K = torch.tensor([1, 2, 8, 8, 1]) if "counts" in told else None
    w = torch.tensor([1, 1.7, 3, 5, 6]) if "guidance" in told else None
    i = torch.tensor([0, 3, 8, 3, 19]) if "origin" in told else None
    cond = Condition(label, K, w, i)
    assert torch.allclose(one(z, t, label), other(z, t, cond), atol=1e-6)

    other(z, t, cond).square().sum().backward()  # and learns what it is told at once
    layers = [block.film for block in other.network.blocks] if "counts" in told else []
    named = (getattr(other.network, name, None) for name in ("embed_guidance", "embed_origin"))
    for layer in [*layers, *filter(None, named)]:
        assert (layer.weight.grad != 0).any(1).all()
        torch.nn.init.normal_(layer.weight, std=0.3)
    again = load_denoiser(save_denoiser(tmp_path / "w.safetensors", other))
    assert again.network.config == other.network.config
    whole = other(z, t, cond)
    assert torch.equal(again(z, t, cond), whole) and not torch.allclose(one(z, t, label), whole)
    for row in range(5):  # each sample its own
        assert torch.allclose(other(z[[row]], t[[row]], cond[[row]]), whole[[row]], atol=1e-6)
    if K is not None:
        swapped = replace(cond, steps=K.flip(0))
        assert torch.allclose(
            other(z, t, swapped)[K == K.flip(0)], whole[K == K.flip(0)], atol=1e-6
        )
        assert not torch.allclose(other(z, t, swapped)[1], whole[1], atol=1e-3)


def test_fourier_features_are_saved_and_see_what_turns_quickly(tmp_path):
    one, z = denoiser(fourier=5, bandwidth=2.0), torch.randn(3, 1, 4, 4)
    other = load_denoiser(save_denoiser(tmp_path / "w.safetensors", one))
    told = one.network.aware(counts=(1, 4))
    assert torch.equal(one(z, 7), other(z, 7))
    same = FromV(told, one.schedule)(z, 7, Condition(None, 4))
    assert torch.allclose(one(z, 7), same, atol=1e-6)
    assert not torch.equal(one(z, 7), denoiser(fourier=5, bandwidth=2.5)(z, 7))

    fast = denoiser(fourier=64, bandwidth=50.0)  # angles in the hundreds
    with torch.autocast("cpu", torch.bfloat16):
        half = fast(z, 7)
    assert (half - fast(z, 7)).abs().max() < 0.05 * fast(z, 7).abs().max()

    exact, near = fast.double(), z.double() + 1e-9  # in single precision the same point
    assert not torch.equal(exact.network(near, torch.full((3,), 7)),
                           exact.network(z.double(), torch.full((3,), 7)))  # fmt: skip
    features = exact.network.first.weight[:, 16:]
    angle = near.flatten(1) @ exact.network.combinations
    seen = []
    handle = exact.network.first.register_forward_hook(lambda _, given, out: seen.append(out))
    exact.network(near, torch.full((3,), 7))
    handle.remove()
    plain = near.flatten(1) @ exact.network.first.weight[:, :16].T + exact.network.first.bias
    waves = torch.cat([angle.sin(), angle.cos()], 1) @ features.T
    assert torch.allclose(seen[0], plain + waves, atol=1e-10)

    x = torch.rand(512, 2, generator=torch.Generator().manual_seed(0)) * 4 - 2
    target, left = torch.sin(6 * x.sum(1, keepdim=True)) * torch.ones(2), {}
    for fourier in (0, 64):
        torch.manual_seed(0)
        network = ResidualMLP((2,), 10, 1, 64, 2, 32, fourier=fourier)
        adam = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(150):
            loss = (network(x, torch.full((512,), 5)) - target).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        left[fourier] = loss.item()
    assert left[64] < 0.1 * left[0]


def test_each_count_has_a_modulation_of_its_own():
    """As a network that is not told K and has the weights of that K; one count moves no other."""
    one = denoiser().network
    told, E = one.aware(counts=(1, 4, 9)), one.config["embedding"]
    for block in told.blocks:
        torch.nn.init.normal_(block.film.weight)
    z, t, label = torch.randn(4, 1, 4, 4), torch.tensor([3, 9, 20, 1]), torch.tensor([2, 2, 0, 1])
    K = torch.tensor([4, 9, 1, 4])
    mixed = told(z, t, Condition(label, K))
    for place, count in enumerate((1, 4, 9)):
        for mine, theirs in zip(one.blocks, told.blocks, strict=True):
            mine.film.weight.data = theirs.film.weight.data[:, place * E : (place + 1) * E]
        assert torch.allclose(mixed[K == count], one(z, t, label)[K == count], atol=1e-5)
    told(z, t, Condition(label, 4)).square().sum().backward()
    for block in told.blocks:
        slope = block.film.weight.grad.unflatten(1, (3, E))
        assert (slope[:, 1] != 0).any() and (slope[:, [0, 2]] == 0).all()


def test_a_network_is_told_what_it_knows_and_nothing_else():
    one = denoiser().network
    z, t, label = torch.zeros(2, 1, 4, 4), torch.tensor([3, 4]), torch.tensor([0, 1])
    told = one.aware(counts=(1, 4), guidance=(1.3, 6))
    for network, cond, says in (
        (one, Condition(label, steps=4), "not told steps"),
        (one, Condition(label, guidance=2.0), "not told guidance"),
        (one, Condition(label, origin=2), "not told origin"),
        (one.aware(origin=True), label, "is told origin"),
        (told, label, "is told steps: name it, as in Condition"),
        (told, Condition(label, 4), "is told guidance"),
        (
            told,
            Condition(label, torch.tensor([4, 3]), 2.0),
            "K = 3: the network has learnt K = 1, 4",
        ),
        (told, Condition(label, 4, torch.tensor([2.0, 6.5])), "guidance = 6.5: .* 1.3 … 6"),
    ):
        with pytest.raises(InputError, match=says):
            network(z, t, cond)
    ends = Condition(label, 4, torch.tensor([1.3, 6]))
    assert torch.allclose(told(z, t, ends), one(z, t, label), atol=1e-6)
    for wrong, says in (
        (dict(counts=(0, 1)), "K = 0"), (dict(counts=()), "name the step counts"),
        (dict(guidance=(2, 2)), "the lowest and the highest"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=says):
            one.aware(**wrong)


def test_a_new_network_starts_from_nothing():
    network = ResidualMLP((2, 3), T=10, classes=2)
    assert (network(torch.randn(4, 2, 3), torch.tensor([1, 2, 3, 10])) == 0).all()


def test_files_that_are_not_ours_are_refused(tmp_path):
    with pytest.raises(InputError, match="no weights file"):
        load_denoiser(tmp_path / "missing.safetensors")
    (tmp_path / "text").write_text("not weights")
    with pytest.raises(InputError, match="not a safetensors file"):
        load_denoiser(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match="does not describe"):
        load_denoiser(tmp_path / "bare.safetensors")
    wrong = denoiser()
    wrong.network.config["width"] = 8  # the tensors no longer fit the description
    with pytest.raises(InputError, match="another architecture"):
        load_denoiser(save_denoiser(tmp_path / "wrong.safetensors", wrong))
    wrong.network.config = {"depth": 3}
    with pytest.raises(InputError, match="unknown here"):
        load_denoiser(save_denoiser(tmp_path / "odd.safetensors", wrong))


def described(path, **changes):
    """The file of a denoiser whose description has been tampered with; None leaves a field out."""
    one = denoiser()
    about = read_description(save_denoiser(path, one)) | changes
    text = json.dumps({key: value for key, value in about.items() if value is not None})
    save_file(one.state_dict(), path, metadata={"tdmlib": text})
    return path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"alpha": None}, "without alpha"),
        ({"alpha": "cosine"}, "unknown here"),
        ({"alpha": [1.0, 0.0], "sigma": [0.0, 1.0]}, "T = 20 levels, its schedule 1"),
        ({"sigma": [0.0] * 21}, "unknown here"),
        ({"alpha": [10**400] + [0.0] * 20}, "unknown here: int too large"),
        (
            {"config": {"shape": [2], "T": 20, "classes": 1, "counts": [10**30]}},
            "K = 10+: must be a whole number within 1 … 1000000",
        ),
        ({"prediction": "FromX"}, "FromX"),
        ({"config": {"shape": [1, 4, 4], "T": 20, "classes": 3, "width": -16}}, "width = -16"),
        ({"config": [1, 2]}, "unknown here"),
        (
            {"network": "StepExperts", "config": {"network": None, "grids": [[0, 20]]}},
            "unknown here",
        ),
        (
            {
                "network": "StepExperts",
                "config": {
                    "network": {"shape": [2], "T": 20, "classes": 1},
                    "grids": [[0, float("inf")]],
                },
            },
            "level = inf",
        ),
    ],
)
def test_descriptions_that_make_no_denoiser_are_refused(tmp_path, changes, says):
    with pytest.raises(InputError, match=says) as caught:
        load_denoiser(described(tmp_path / "w.safetensors", **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", "3", "[" * 100_000])
def test_descriptions_that_are_no_json_object_are_refused(tmp_path, text):
    save_file(denoiser().state_dict(), tmp_path / "w", metadata={"tdmlib": text})
    with pytest.raises(InputError, match="describes"):
        load_denoiser(tmp_path / "w")


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    one = denoiser()
    torch.nn.init.constant_(one.network.last.bias, float("nan"))
    with pytest.raises(InputError, match="NaN or infinite weights in network"):
        load_denoiser(save_denoiser(tmp_path / "nan.safetensors", one))


def test_complex_weights_are_refused(tmp_path):
    path = described(tmp_path / "w.safetensors")
    with safe_open(path, "pt") as file:
        state, about = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    key = "network.last.bias"
    save_file(state | {key: state[key].to(torch.complex64)}, path, metadata=about)
    with pytest.raises(InputError, match=f"complex weights in {key}"):
        load_denoiser(path)


def test_samples_of_another_type_than_the_network_are_refused():
    one, z = denoiser(), torch.zeros(2, 1, 4, 4)
    with pytest.raises(InputError, match=r"samples are of type torch.float64, the network is of"):
        one.network(z.double(), torch.tensor([3, 3]))
    with pytest.raises(InputError, match=r"samples are of type torch.float64"):
        StepExperts(one.network, [[0, 20]])(z.double(), 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert one(z.bfloat16(), 3).shape == one(z, 3).shape == z.shape
    assert one.double()(z.double(), 3).dtype == torch.float64


def test_shapes_and_labels_are_checked():
    with pytest.raises(InputError, match=r"\(1, 8, 8\), the network takes \(1, 4, 4\)"):
        denoiser()(torch.zeros(2, 1, 8, 8), 3)
    with pytest.raises(InputError, match="label 10 is out of range; labels are 0 … 9"):
        check_labels(torch.tensor([3, 10]), 10)


def test_infinite_weights_are_refused(tmp_path):
    one = denoiser()
    one.network.last.bias.data[3] = float("inf")
    with pytest.raises(InputError, match="NaN or infinite weights in network"):
        load_denoiser(save_denoiser(tmp_path / "inf.safetensors", one))


def test_sizes_that_are_whole_floats_serve_and_a_sample_has_an_axis():
    network = ResidualMLP((2.0, 3), T=10.0, classes=2.0, width=8.0, blocks=1.0, embedding=4.0)
    assert network(torch.zeros(4, 2, 3), torch.tensor([1, 2, 3, 10])).shape == (4, 2, 3)
    assert json.dumps(network.config["shape"]) == "[2, 3]"
    for shape in ((), 5, None):
        with pytest.raises(InputError, match=re.escape(f"shape = {shape}: a sample has at least")):
            ResidualMLP(shape, T=10, classes=2)
    with pytest.raises(InputError, match="origin = 'no': must be true or false"):
        ResidualMLP((2,), T=10, classes=2, origin="no")


def test_the_noisiest_level_is_a_quarter_turn():
    network, seen = denoiser().network, []
    network.embed_time.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    network(torch.zeros(3, 1, 4, 4), torch.tensor([0, 10, 20]))
    slowest, half = seen[0][:, [0, len(network.frequencies)]], 0.5**0.5  # of frequency 1
    assert torch.allclose(slowest, torch.tensor([[0, 1], [half, half], [1, 0]]), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"label": torch.tensor([0, 4])}, "label 4 is out of range; labels are 0 … 3"),
     ({"label": torch.tensor([-1, 0])}, "label -1"), ({"label": 9}, "label 9"),
     ({"label": torch.zeros(2)}, "labels are of type torch.float32"),
     ({"label": 0.5}, "labels are of type"), ({"label": "cat"}, "label = 'cat': give one number"),
     ({"label": torch.zeros(3).long()}, r"label has shape \(3,\), expected \(2,\)"),
     ({"steps": torch.tensor([1, 4, 4])}, r"steps has shape \(3,\)"),
     ({"steps": float("nan")}, "K = nan: the network has learnt K = 1, 4"),
     ({"steps": 2.5}, r"K = 2\.5"), ({"steps": [None, 4]}, "steps = "),
     ({"guidance": torch.ones(3)}, r"guidance has shape \(3,\)"),
     ({"guidance": float("nan")}, "guidance = nan"),
     ({"origin": 21}, "origin = 21: .* 0 … 20"), ({"origin": torch.zeros(1)}, "origin has shape"),
     ({"t": torch.tensor([3, 2.5])}, "t = 2.5: must be a whole number"), ({"t": True}, "type bool"),
     ({"t": torch.tensor([3.0, np.nan])}, "t = nan"), ({"origin": 2.5}, "origin = 2.5: must be a"),
     ({"steps": True}, "steps is of type bool"), ({"guidance": True}, "guidance is of type bool"),
     ({"guidance": 10**400}, "guidance = 1000.*: give one number"), ({"label": False}, "type bool"),
     ({"t": torch.tensor([3, 21])}, "t = 21: .* 0 … 20"), ({"t": torch.tensor([-1, 3])}, "t = -1"),
     ({"t": torch.tensor([3, 4, 5])}, r"t has shape \(3,\), expected \(2,\)")],
)  # fmt: skip
def test_a_network_refuses_what_it_cannot_be_told(changes, says):
    network = denoiser().network.aware(counts=(1, 4), guidance=(1, 6), origin=True)
    given = dict(label=torch.tensor([0, 1]), steps=4, guidance=2.0, origin=3) | changes
    t = given.pop("t", torch.tensor([3, 20]))
    with pytest.raises(InputError, match=says):
        network(torch.zeros(2, 1, 4, 4), t, Condition(**given))


@pytest.mark.parametrize(
    ("first", "then"),
    [({"counts": (1, 2)}, {"counts": (1, 2, 4)}), ({"counts": (1, 2)}, {"counts": (1, 4)}),
     ({"guidance": (1, 4)}, {"guidance": (1, 6)}), ({"origin": True}, {"origin": False})],
)  # fmt: skip
def test_a_network_is_told_a_thing_once(first, then):
    one = denoiser().network.aware(**first)
    assert one.aware(**first).config == one.config
    (name,) = first
    with pytest.raises(InputError, match=f"is told {name} = .* already"):
        one.aware(**then)


def test_one_label_or_level_may_stand_for_all():
    one, z, t = denoiser().network, torch.randn(3, 1, 4, 4), torch.full((3,), 7)
    label = torch.full((3,), 2)
    assert torch.equal(one(z, 7, 2), one(z, t, label))
    assert torch.equal(one(z, t, label.to(torch.uint8)), one(z, t, label))
    assert torch.equal(one(z, t), one(z, t, 3))
