import numpy as np
import pytest
import torch
from PIL import Image

from tdmlib.datasets import patches as module
from tdmlib.datasets.patches import Patches, patch_batches, patch_count, patches, photographs
from tdmlib.errors import InputError


@pytest.mark.parametrize("size", [1, 5, 8])
def test_every_patch_is_a_piece_of_a_photograph(size):
    drawn = patches(12, size, color=True)
    assert drawn.shape == (12, 3, size, size) and drawn.dtype == torch.float32
    pixels = np.rint((drawn.numpy() + 1) * 127.5).astype(np.uint8)
    for patch in pixels:
        corner = (photographs()[..., :, :, :] == patch[:, 0, 0]).all(-1)
        pieces = (
            photographs()[k, row : row + size, column : column + size]
            for k, row, column in np.argwhere(corner)
        )
        assert any(np.array_equal(piece, patch.transpose(1, 2, 0)) for piece in pieces)


def test_grey_is_that_of_pillow():
    color, grey = patches(50, 6, color=True), patches(50, 6)
    assert grey.shape == (50, 1, 6, 6)
    for there, here in zip(color.numpy(), grey.numpy(), strict=True):
        pixels = np.rint((there + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)
        expected = np.asarray(Image.fromarray(pixels).convert("L"))
        assert np.abs((here[0] + 1) * 127.5 - expected).max() <= 1  # theirs is whole


def test_the_seed_decides_and_nothing_repeats():
    assert torch.equal(patches(100, seed=3), patches(100, seed=3))
    assert not torch.equal(patches(100, seed=3), patches(100, seed=4))
    rows, columns = photographs().shape[1:3]
    every = patches(2 * rows * columns, 1, color=True)
    assert np.array_equal(
        np.sort(np.rint((every[:, 0, 0, 0].numpy() + 1) * 127.5)),
        np.sort(photographs()[..., 0].ravel()),
    )
    assert every.min() == -1 and every.max() == 1


@pytest.mark.parametrize(("size", "part"), [(1, "all"), (300, "train"), (128, "validation")])
def test_all_patches_can_be_drawn_and_no_more(size, part):
    columns = {"all": 640, "train": 512, "validation": 128}[part]
    most = 2 * (428 - size) * (columns + 1 - size)
    assert patch_count(size, part) == most
    with pytest.raises(InputError, match=rf"n = {most + 1}: must be .* within 1 … {most}$"):
        patches(most + 1, size, part=part)


def test_batches_are_the_same_patches():
    batches = list(patch_batches(20, 6, color=True, seed=2, part="train", batch_size=8))
    assert [len(batch) for batch in batches] == [8, 8, 4]
    assert torch.equal(torch.cat(batches), patches(20, 6, color=True, seed=2, part="train"))
    with pytest.raises(InputError, match="batch_size = 0"):
        next(patch_batches(20, batch_size=0))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"n": 0}, "n = 0"),
        ({"n": 10**6}, "n = 1000000: must be a whole number within 1 … 531720"),
        ({"n": 5, "size": 428}, "size = 428: must be a whole number within 1 … 427"),
        ({"n": 5, "size": 0}, "size = 0"),
        ({"n": 5, "size": 2.5}, "size = 2.5"),
        ({"n": 5, "seed": -1}, "seed = -1"),
        ({"n": 5, "part": "test"}, "part 'test' is unknown; choose one of all, train, validation"),
        ({"n": 10**6, "size": 1, "part": "train"}, f"within 1 … {2 * 427 * 512}"),
        ({"n": 10**6, "size": 1, "part": "validation"}, f"within 1 … {2 * 427 * 128}"),
        ({"n": 5, "size": 129, "part": "validation"}, "size = 129: .* within 1 … 128"),
    ],
)
def test_what_the_photographs_do_not_hold_is_refused(given, says):
    with pytest.raises(InputError, match=says):
        patches(**given)


def test_validation_shares_no_pixel_with_training(monkeypatch):
    columns = np.zeros((2, 427, 640, 3), np.uint8)
    columns[..., 0], columns[..., 1] = np.divmod(np.arange(640), 256)
    monkeypatch.setattr(module, "photographs", lambda: columns)
    data = Patches(size=16, count=400, batch_size=64)
    seen = {}
    for part, loader in (("train", data.train_dataloader()), ("held", data.val_dataloader())):
        pixels = np.rint((torch.cat([x for (x,) in loader]).numpy() + 1) * 127.5).astype(int)
        seen[part] = set(np.unique(256 * pixels[:, 0] + pixels[:, 1]))
        assert len(pixels) == {"train": 400, "held": 40}[part]
    assert seen["train"] <= set(range(512)) and seen["held"] <= set(range(512, 640))


def test_the_seed_draws_the_patches_and_orders_them(monkeypatch):
    def rows(loader):
        return torch.cat([x for (x,) in loader])

    one, two = (Patches(size=8, count=50, seed=seed) for seed in (0, 1))
    assert not torch.equal(rows(one.val_dataloader()), rows(two.val_dataloader()))
    numbers = torch.arange(50.0)
    monkeypatch.setattr(module, "patches", lambda *args: numbers)
    one, two = (rows(data.train_dataloader()) for data in (one, two))
    assert not torch.equal(one, two) and torch.equal(one.sort()[0], numbers)


def test_the_module_repeats_and_follows_its_seed():
    def first(seed, epoch=0):
        loader = Patches(size=8, color=False, count=50, batch_size=5, seed=seed).train_dataloader()
        loader.sampler.set_epoch(epoch)
        return next(iter(loader))[0]

    assert first(0).shape == (5, 1, 8, 8) and torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1)) and not torch.equal(first(0), first(0, epoch=1))
    for bad in ({"count": 9}, {"batch_size": 0}, {"seed": -1}):
        with pytest.raises(InputError, match=next(iter(bad))):
            Patches(**bad)
