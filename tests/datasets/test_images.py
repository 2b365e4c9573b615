"""Folders of images: what serves is decoded as it should be, what does not is counted and named."""

import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from tdmlib.datasets import image_faults
from tdmlib.datasets.images import ImageFolder, Images
from tdmlib.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pixels(width, height, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photo(path, width=20, height=20, channels=3, seed=0, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(width, height, channels, seed)).save(path, **kwargs)
    return path


@pytest.fixture
def root(tmp_path):
    """Six good images, in folders of their own."""
    for k in range(6):
        photo(tmp_path / f"root/{k % 2}/{k}.png", seed=k)
    return tmp_path / "root"


def folder(root, size=16, least=1, **kwargs):
    return ImageFolder(root, size, least=least, **kwargs)


def test_images_come_sorted_cropped_and_scaled(root):
    data = folder(root, size=16, crop=16)
    assert data.names == ["0/0.png", "0/2.png", "0/4.png", "1/1.png", "1/3.png", "1/5.png"]
    centre = pixels(20, 20, seed=2)[2:18, 2:18].transpose(2, 0, 1)
    assert data[1].dtype == torch.float32
    assert np.array_equal(np.rint((data[1].numpy() + 1) * 127.5), centre)
    grey = folder(root, size=16, crop=16, color=False)[1]
    luma = np.tensordot([0.299, 0.587, 0.114], centre, 1)
    assert grey.shape == (1, 16, 16)
    assert np.abs((grey[0].numpy() + 1) * 127.5 - luma).max() <= 1


def test_the_largest_square_is_resized(tmp_path):
    array = np.zeros((40, 80, 3), np.uint8)
    array[:, 20:60] = 200, 100, 0  # the central square
    (tmp_path / "root").mkdir()
    Image.fromarray(array).save(tmp_path / "root/a.png")
    found = folder(tmp_path / "root", 8)[0].numpy()
    assert np.allclose(found.transpose(1, 2, 0), np.array([200, 100, 0]) / 127.5 - 1)


def test_an_image_is_turned_as_its_exif_data_say(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    photo(tmp_path / "root/a.png", 16, 16, exif=exif)
    turned = np.rot90(pixels(16, 16), -1).transpose(2, 0, 1)
    assert np.array_equal(np.rint((folder(tmp_path / "root")[0].numpy() + 1) * 127.5), turned)


def transparent_palette(path):
    Image.fromarray(pixels(20, 20, 1)).convert("P").save(path, transparency=3)


def deep(path):
    Image.fromarray(pixels(20, 20, 1).astype(np.uint16) * 256).save(path)


def animation(path):
    first, second = (Image.fromarray(pixels(20, 20, seed=k)) for k in (0, 1))
    first.save(path, save_all=True, append_images=[second])


def cut_header(path):
    path.write_bytes(photo(path.with_suffix(".bmp")).read_bytes()[:20])
    path.with_suffix(".bmp").unlink()


FAULTS = {
    "unreadable": [
        ("empty.jpg", lambda p: p.write_bytes(b"")),
        ("text.png", lambda p: p.write_text("no image")),
        ("cut.png", cut_header),
        ("dead.png", lambda p: p.symlink_to("nowhere")),
        ("pipe.png", os.mkfifo),
        ("folder-like.jpg", lambda p: p.write_bytes(b"\xff\xd8\xff")),
    ],
    "small": [("tiny.png", lambda p: photo(p, 15, 40))],
    "grey": [("grey.jpg", lambda p: photo(p, channels=1)),
             ("bits.png", lambda p: Image.new("1", (20, 20)).save(p))],
    "deep": [("deep.png", deep), ("deep.tif", deep)],
    "transparent": [("alpha.png", lambda p: photo(p, channels=4)), ("p.png", transparent_palette),
                    ("la.png", lambda p: Image.new("LA", (20, 20)).save(p))],
    "animated": [("moves.gif", animation), ("moves.webp", animation), ("pages.tif", animation)],
    "other": [("list.csv", lambda p: p.write_text("a,b")), (".DS_Store", lambda p: p.touch())],
}  # fmt: skip


@pytest.mark.parametrize("reason", FAULTS)
def test_what_cannot_serve_is_skipped_counted_and_named(root, reason):
    for name, make in FAULTS[reason]:
        make(root / name)
    data, names = folder(root), sorted(name for name, _ in FAULTS[reason])
    assert len(data) == 6 and dict(data.skipped) == {reason: names}
    first, line = data.report().splitlines()
    assert first.startswith("6 images in ") and f"skipped {len(names)} " in line
    assert ", ".join(names[:3]) in line and ("…" in line) == (len(names) > 3)


def test_grey_images_serve_where_no_colour_is_wanted(root):
    photo(root / "grey.jpg", channels=1)
    assert len(folder(root, color=False)) == 7


def test_grey_in_three_channels_shows_when_it_is_decoded(root):
    for name in ("0/2.jpg", "0/2.png"):
        Image.fromarray(pixels(20, 20, 1)).convert("RGB").save(root / name)
    data = folder(root)
    assert len(data) == 7 and not data.skipped
    with pytest.warns(UserWarning, match=r"0/2\.(jpg|png) is grey, its three channels") as said:
        assert torch.equal(data[1], data[3]) and torch.equal(data[2], data[3])
    assert len(said) == 2 and dict(data.skipped) == {"grey": ["0/2.jpg", "0/2.png"]}
    assert "skipped 2 grey: 0/2.jpg, 0/2.png" in data.report()
    assert sum(map(len, data.batches())) == 5
    assert sum(map(len, folder(root, color=False).batches())) == 7


def test_a_bomb_is_skipped(root, monkeypatch):
    photo(root / "bomb.png", 60, 60)
    photo(root / "large.png", 45, 45)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # an error from twice that
    assert dict(folder(root).skipped) == {"huge": ["bomb.png", "large.png"]}


def test_a_camera_picture_with_a_second_view_serves(root):
    first, second = (Image.fromarray(pixels(20, 20, seed=k)) for k in (0, 1))
    first.save(root / "camera.jpg", format="MPO", save_all=True, append_images=[second])
    assert Image.open(root / "camera.jpg").format == "MPO" and len(folder(root)) == 7


def test_links_are_followed_once(root, tmp_path):
    photo(tmp_path / "elsewhere/7.png")
    (root / "loop").symlink_to(root)
    (root / "more").symlink_to(tmp_path / "elsewhere")
    (root / "link.png").symlink_to(root / "0/0.png")
    assert {"more/7.png", "link.png"} < set(folder(root).names) and len(folder(root)) == 8


def cut(path, share=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def test_an_image_found_broken_later_is_replaced_by_the_next(root):
    data = folder(root)
    whole = [data[k] for k in range(6)]
    cut(root / "0/2.png")
    (root / "1/5.png").unlink()
    data = folder(root)  # by its header the cut one is in order
    assert len(data) == 5
    cut(root / "1/3.png")  # while we train
    with pytest.warns(UserWarning, match=r"0/2.png cannot be decoded") as first:
        assert torch.equal(data[1], whole[2])
    assert len(first) == 1
    with pytest.warns(UserWarning, match="1/3.png"):
        assert torch.equal(data[4], whole[0])
    with warnings.catch_warnings():  # said once
        warnings.simplefilter("error")
        assert torch.equal(data[1], whole[2])
        batches = [len(batch) for batch in data.batches(2)]
    assert batches == [2, 1] and data.skipped["broken"] == ["0/2.png", "1/3.png"]
    assert "skipped 2 cut short or broken" in data.report()


@pytest.mark.filterwarnings("ignore:.*cannot be decoded")
def test_a_folder_of_broken_images_ends(root):
    data = folder(root)
    for path in root.rglob("*.png"):
        cut(path)
    says = r"none of 6 images can be decoded in colour; skipped 6 cut short .*: 1/1\.png"
    with pytest.raises(InputError, match=says):
        data[3]
    assert list(data.batches()) == []


@pytest.mark.parametrize(
    ("make", "says"),
    [(lambda r: r / "missing", "missing' does not exist; name a folder"),
     (lambda r: r / "0/0.png", "0.png' is no folder"),
     (lambda r: (r / "empty").mkdir() or r / "empty", "0 images can serve.*no file is there"),
     (lambda r: "a" * 5000, "does not exist"), (lambda r: "a\0b", "does not exist")],
)  # fmt: skip
def test_a_root_without_images_is_refused(root, make, says):
    with pytest.raises(InputError, match=says) as caught:
        folder(make(root))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_too_few_images_are_refused_with_the_counts(root):
    for name in ("b.txt", "c.txt"):
        (root / name).touch()
    photo(root / "tiny.png", 3, 3)
    with pytest.raises(InputError) as caught:
        folder(root, least=7)
    said = str(caught.value)
    assert "skipped 1 smaller than 16 pixels: tiny.png; skipped 2 no images" in said
    assert "6 images can serve, at least 7 are needed" in said and "\n" not in said


@pytest.mark.parametrize("bad", [{"size": 0}, {"crop": 15}, {"least": 0}, {"size": 2.5}])
def test_bad_numbers_are_refused(root, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        folder(root, **bad)


def test_a_name_that_is_no_text_is_reported(root):
    with open(os.fsencode(root) + b"/\xff.txt", "wb"):
        pass
    assert folder(root).report().encode().endswith(b"?.txt")


def test_headers_are_read_once_while_files_are_the_same(root, cache, monkeypatch):
    read = []
    monkeypatch.setattr(image_faults, "KEPT_FROM", 1)
    fault = image_faults.fault
    monkeypatch.setattr(
        image_faults, "fault", lambda path, *rule: read.append(path.name) or fault(path, *rule)
    )
    photo(root / "tiny.png", 3, 3)
    first = folder(root)
    assert len(read) == 7 and not read.clear()
    again = folder(root)
    assert read == [] and again.names == first.names and again.skipped == first.skipped
    photo(root / "tiny.png", 30, 30)
    assert len(folder(root)) == 7 and read == ["tiny.png"]
    assert len(folder(root, size=18)) == 7 and len(read) == 8  # another rule
    for text in ("{", "[]", '{"tiny.png": [1]}'):
        for path in cache.rglob("*.json"):
            path.write_text(text)
        assert len(folder(root)) == 7


def test_without_a_cache_nothing_is_kept(root, tmp_path, monkeypatch):
    monkeypatch.setattr(image_faults, "KEPT_FROM", 1)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(folder(root)) == 6


def test_the_split_is_disjoint_complete_and_stays_when_files_come(root):
    train, held = folder(root).split(0.34)
    assert len(held) == 2 and sorted([*train.indices, *held.indices]) == list(range(6))

    def names(part):
        return {part.dataset.names[k] for k in part.indices}

    for k in range(6, 12):
        photo(root / f"{k}.png", seed=k)
    _, later = folder(root).split(0.34)
    assert len(later) == 4 and len(names(held) & names(later)) >= 1
    assert len(folder(root).split(0)[1]) == 1


def test_the_module_reports_and_repeats(root, capsys):
    (root / "b.txt").touch()
    data = Images(str(root), size=16, least=1, validation=0.34, batch_size=2)
    data.setup("fit")
    assert "skipped 1 no images by their names: b.txt" in capsys.readouterr().err
    loader = data.train_dataloader()
    one, two = ([batch.clone() for batch in loader] for _ in range(2))
    assert [len(batch) for batch in one] == [2, 2]
    assert all(map(torch.equal, one, two))
    loader.sampler.set_epoch(1)
    assert not all(map(torch.equal, one, loader))
    assert sum(map(len, data.val_dataloader())) == 2


def test_a_run_goes_on_with_the_images_that_it_began_with(root):
    def module():
        data = Images(str(root), size=16, least=1)
        data.setup("fit")
        return data

    begun = module().state_dict()
    module().load_state_dict(begun)
    photo(root / "later.png")
    with pytest.raises(InputError, match="no longer holds the images of the checkpoint"):
        module().load_state_dict(begun)


def test_a_loop_over_images_ends(root):
    assert len(list(folder(root))) == 6
    with pytest.raises(IndexError):
        folder(root)[6]


def test_without_a_home_nothing_is_kept(root, tmp_path, monkeypatch):
    monkeypatch.setattr(image_faults, "KEPT_FROM", 1)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user without a home
    monkeypatch.chdir(tmp_path)
    assert len(folder(root)) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_what_was_unreadable_is_looked_at_again(root, monkeypatch):
    monkeypatch.setattr(image_faults, "KEPT_FROM", 1)
    real = image_faults.Image.open
    with monkeypatch.context() as patch:
        shut = PermissionError()
        patch.setattr(
            image_faults.Image, "open",
            lambda path: (_ for _ in ()).throw(shut) if path.name == "2.png" else real(path),
        )  # fmt: skip
        assert folder(root).skipped["unreadable"] == ["0/2.png"]
    assert len(folder(root)) == 6


def test_a_folder_that_cannot_be_listed_is_named(root, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("1"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    data = folder(root)
    assert data.names == ["0/0.png", "0/2.png", "0/4.png"]
    assert "skipped 1 unreadable: 1/" in data.report()


def test_a_report_has_a_line_for_each_reason_whatever_names_hold(root):
    (root / "a\nb\x1b[31m.txt").touch()
    assert folder(root).report().splitlines()[1:] == [
        r"skipped 1 no images by their names: a\nb\x1b[31m.txt"
    ]


def test_what_cannot_be_cut_in_two_or_in_batches_is_refused(tmp_path, monkeypatch):
    photo(tmp_path / "one/0.png")
    one = folder(tmp_path / "one")
    for ask in (
        lambda: one.split(0.05), lambda: next(one.batches(0)), lambda: next(one.batches(most=0))
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"at least 2|≥ 1"):
            ask()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        ImageFolder("", 16, least=1)  # and not the folder that we are in
