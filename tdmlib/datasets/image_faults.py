"""Which image files cannot serve, by their headers: each file is looked at once.

What was found is kept in the user's cache, so that a second run over 200,000 files asks only
whether they have changed.
"""

import hashlib
import json
import os
import stat
import warnings
from contextlib import suppress
from pathlib import Path

from PIL import Image

from tdmlib.errors import InputError
from tdmlib.files import write_whole

SUFFIXES = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"
)  # fmt: skip
REASONS = {  # in the order of a report
    "unreadable": "unreadable",
    "small": "smaller than {side} pixels",
    "deep": "of more than 8 bits a channel",
    "grey": "grey",
    "transparent": "transparent",
    "animated": "animated",
    "huge": "so large that they may be decompression bombs",
    "other": "no images by their names",
    "broken": "cut short or broken, found when decoded",
}
KNOWN = [[None], *([why] for why in REASONS if why != "unreadable")]
KEPT_FROM = 1000  # files; fewer are looked at anew faster than anyone waits


def fault(path: str | Path, side: int, color: bool) -> str | None:
    """Why the file cannot serve as an image of `side` pixels, a key of REASONS; None if it can.

    Only its header is read, so that what is cut short shows later. An image of several pages or
    frames is animated; of one with an alpha channel, or a transparent colour, the background is
    unknown. Grey is what has no colours by its mode; three channels that are all the same show
    when they are decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if min(image.size) < side:
                    return "small"
                if image.has_transparency_data:
                    return "transparent"
                if image.mode.partition(";")[0] in ("I", "F"):
                    return "deep"
                if color and image.mode in ("1", "L"):
                    return "grey"
                # a camera's second picture in one file (MPO) does not move
                if image.format != "MPO" and getattr(image, "is_animated", False):
                    return "animated"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return "huge"
    except Exception:  # on foreign bytes a decoder may raise anything
        return "unreadable"


class KeptFaults:
    """What was found in each file's header, kept between runs while the file is the same."""

    def __init__(self, root: Path, side: int, color: bool):
        self.root, self.rule = root, (side, color)
        key = repr((str(root.resolve()), *self.rule)).encode(errors="surrogateescape")
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        if not os.path.isabs(home):  # a user without a home: nothing can be kept there
            home = os.devnull
        self.path = Path(home) / "tdmlib" / f"images-{hashlib.sha256(key).hexdigest()[:16]}.json"
        self.before, self.now = {}, {}
        with suppress(OSError, ValueError):
            before = json.loads(self.path.read_text(encoding="utf-8"))
            self.before = before if isinstance(before, dict) else {}

    def of(self, name: str) -> str | None:
        """`fault` of the file of that name, looked up where the file has not changed."""
        try:
            status = os.stat(self.root / name)
        except OSError:
            return "unreadable"
        if not stat.S_ISREG(status.st_mode):  # a pipe would have us wait
            return "unreadable"
        mark = [status.st_size, status.st_mtime_ns]
        known = self.before.get(name)
        if isinstance(known, list) and known[:2] == mark and known[2:] in KNOWN:
            found = known[2]
        else:
            found = fault(self.root / name, *self.rule)
        if found != "unreadable":  # permissions are mended, and disks recover, without a mark
            self.now[name] = [*mark, found]
        return found

    def write(self) -> None:
        """Keep what was found; where the cache cannot be written, the next run looks anew."""
        if len(self.now) < KEPT_FROM or self.now == self.before:
            return
        with suppress(OSError, InputError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, json.dumps(self.now))
