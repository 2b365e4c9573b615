"""A folder of images, such as CelebA: what cannot serve is skipped, counted and named.

Nothing is held in memory but names; images are decoded when a batch needs them.
"""

import os
import sys
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from tdmlib.datasets.image_faults import REASONS, SUFFIXES, KeptFaults
from tdmlib.datasets.loading import repeatable_loader
from tdmlib.errors import InputError, check_number

NAMED = 3  # files of each kind in a report


def _files(root: Path) -> Iterator[str]:
    """Paths of all files under `root`, relative to it; links are followed, each folder once."""
    seen = set()
    shut = []  # folders that cannot be listed stand for the files in them
    for folder, folders, names in os.walk(root, onerror=shut.append, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (os.path.relpath(os.path.join(folder, name), root) for name in names)
    for error in shut:
        yield os.path.join(os.path.relpath(error.filename, root), "")


def _shown(text: str) -> str:
    """`text` in one line: a file's name may hold anything, line breaks and escape codes too."""
    text = text.encode(errors="replace").decode()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class ImageFolder(Dataset):
    """The images (c, size, size) under a folder, float32 in [−1, 1], sorted by path.

    An image is turned as its EXIF data say, its central square is cropped, of `crop` pixels or as
    large as it can be, and resized. CelebA is usually taken with crop=148 and size=64.

    Parameters
    ----------
    root : the folder; folders in it are searched too.
    size : pixels of a side.
    crop : pixels of the square that is resized; images must have as many. None for the largest.
    color : three channels, and grey images are skipped; else one.
    least : with fewer images left than this the folder is refused.

    `names` are the files that serve, `skipped` maps a reason (a key of REASONS) to the others, and
    `report()` says it in a line for each. A file that turns out broken when it is decoded, or grey
    in all three channels of the square that is taken, joins `skipped`, with a warning, and the next
    that serves stands in for it: to know before would be to decode every file.

    Raises InputError for a root that is no folder, fewer than `least` images, or bad numbers.
    """

    def __init__(
        self, root: str | Path, size: int = 64, crop: int | None = None, color: bool = True,
        least: int = 100,
    ):  # fmt: skip
        self.root, self.color = Path(root), color
        self.size = check_number("size", size, 1, 4096, whole=True)
        self.crop = crop if crop is None else check_number("crop", crop, size, 2**16, whole=True)
        self.side = self.crop or self.size
        least = check_number("least", least, 1, whole=True)
        if not os.path.isdir(root):  # false, not an error, for a name too long
            what = "is no folder" if os.path.exists(root) else "does not exist"
            raise InputError(f"{str(root)!r:.200} {what}; name a folder of images")
        self.skipped: dict[str, list[str]] = defaultdict(list)
        self.names = self._look()
        if len(self.names) < least:
            count = f"{len(self.names)} images can serve, at least {least} are needed"
            raise InputError(f"{str(root)!r:.200}: {count}; {self._why()}")

    def _look(self) -> list[str]:
        """The names of the files that serve; the others go to `skipped`."""
        kept = KeptFaults(self.root, self.side, self.color)
        names = []
        for name in tqdm(
            sorted(_files(self.root)), "looking at images", disable=None, delay=1, unit=" files"
        ):
            if name.endswith(os.sep):
                self.skipped["unreadable"].append(name)
            elif os.path.splitext(name)[1].lower() not in SUFFIXES:
                self.skipped["other"].append(name)
            elif why := kept.of(name):
                self.skipped[why].append(name)
            else:
                names.append(name)
        kept.write()
        return names

    def report(self) -> str:
        """How many images serve; then a line for each reason, with how many and the first names."""
        lines = [f"{len(self.names):,} images in {self.root}"]
        for why, words in REASONS.items():
            if names := self.skipped.get(why):
                more = ", …" if len(names) > NAMED else ""
                lines.append(
                    f"skipped {len(names):,} {words.format(side=self.side)}: "
                    f"{', '.join(names[:NAMED])}{more}"
                )
        return "\n".join(map(_shown, lines))

    def _why(self) -> str:
        skipped = self.report().splitlines()[1:]
        return "; ".join(skipped) or ("all of them serve" if self.names else "no file is there")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        """Image `index`, or the next that serves. Raises InputError where none does."""
        if not -len(self) <= index < len(self):  # which is also how a loop over images ends
            raise IndexError(f"image {index} of {len(self)}")
        for step in range(len(self)):
            image = self.read((index + step) % len(self))
            if image is not None:
                return image
        none = f"none of {len(self)} images can be decoded{' in colour' if self.color else ''}"
        raise InputError(f"{str(self.root)!r:.200}: {none}; {self._why()}")

    def read(self, index: int) -> Tensor | None:
        """Image `index`, (c, size, size); None where the file is broken or gone, or grey."""
        name = self.names[index]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(self.root / name) as image:
                    found = self._tensor(image)
        except Exception as error:  # on foreign bytes a decoder may raise anything
            reason = " ".join(str(error).split())
            return self._leave_out(name, "broken", f"cannot be decoded: {reason:.200}")
        if self.color and bool((found == found[:1]).all()):
            return self._leave_out(name, "grey", "is grey, its three channels are the same")
        return found

    def _leave_out(self, name: str, why: str, words: str) -> None:
        if name not in self.skipped[why]:
            self.skipped[why].append(name)
            warnings.warn(f"{_shown(str(self.root / name))} {words}", stacklevel=3)

    def _tensor(self, image: Image.Image) -> Tensor:
        image = ImageOps.exif_transpose(image).convert("RGB" if self.color else "L")
        side = self.crop or min(image.size)
        left, top = ((extent - side) // 2 for extent in image.size)
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((self.size, self.size), Image.Resampling.BICUBIC)
        pixels = np.asarray(image, dtype=np.float32) / 127.5 - 1
        return torch.from_numpy(pixels.reshape(self.size, self.size, -1).transpose(2, 0, 1).copy())

    def split(self, share: float) -> tuple[Subset, Subset]:
        """(train, validation) in an order that a hash of the names gives.

        `share` of the images, rounded, at least one, are for validation. Raises InputError where
        that leaves none for training.
        """
        if len(self) < 2:
            raise InputError(f"{str(self.root)!r:.200} holds one image; to split takes at least 2")
        order = sorted(range(len(self)), key=lambda k: (zlib.crc32(os.fsencode(self.names[k])), k))
        count = max(1, round(check_number("share", share, 0, 0.5) * len(self)))
        return Subset(self, sorted(order[count:])), Subset(self, sorted(order[:count]))

    def batches(self, batch_size: int = 256, most: int | None = None) -> Iterator[Tensor]:
        """All images that serve when decoded, each once, or of the first `most`, in batches."""
        batch_size = check_number("batch_size", batch_size, 1, whole=True)
        most = len(self) if most is None else check_number("most", most, 1, whole=True)
        batch = []
        for index in tqdm(range(min(len(self), most)), "reading images", disable=None, delay=1):
            image = self.read(index)
            if image is not None:
                batch.append(image)
            if len(batch) == batch_size:
                yield torch.stack(batch)
                batch = []
        if batch:
            yield torch.stack(batch)


class Images(LightningDataModule):
    """A folder of images for training, a share of them for validation.

    `batch_size`, `seed` as in `Digits`; `workers` processes decode; `validation` is the share; all
    else is of `ImageFolder`. What is skipped is reported on stderr.
    """

    def __init__(
        self, root: str, size: int = 64, crop: int | None = None, color: bool = True,
        least: int = 100, validation: float = 0.05, batch_size: int = 64, seed: int = 0,
        workers: int = 0,
    ):  # fmt: skip
        super().__init__()
        self.choices = dict(size=size, crop=crop, color=color, least=least)
        self.root = root
        self.validation = check_number("validation", validation, 0, 0.5)
        self.batch_size = check_number("batch_size", batch_size, 1, whole=True)
        self.seed = check_number("seed", seed, 0, whole=True)
        self.workers = check_number("workers", workers, 0, 256, whole=True)
        self.parts = self.content = None

    def setup(self, stage: str) -> None:
        if self.parts is None:
            folder = ImageFolder(self.root, **self.choices)
            print(folder.report(), file=sys.stderr)
            self.parts = folder.split(self.validation)
            self.content = sha256("\0".join(folder.names).encode(errors="replace")).hexdigest()

    def state_dict(self) -> dict[str, str]:
        return {"content": self.content}

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Raises InputError unless the folder holds the images of the checkpoint."""
        if state["content"] != self.content:
            raise InputError(
                f"{str(self.root)!r:.200} no longer holds the images of the checkpoint; bring them "
                "back to go on with it, or start anew in another folder"
            )

    def _loader(self, part, seed: int | None) -> DataLoader:
        return repeatable_loader(
            part, self.batch_size, seed=seed, num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )  # fmt: skip

    def train_dataloader(self) -> DataLoader:
        return self._loader(self.parts[0], self.seed)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.parts[1], None)
