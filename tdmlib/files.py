"""Files that appear whole or not at all."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tdmlib.errors import InputError

PICTURES = (".png", ".svg", ".pdf")


def check_target(path: str | Path, *suffixes: str) -> None:
    """Raise InputError unless `path` can be written: a file, in a folder that is there.

    With `suffixes`, such as ".npz", the name must end in one of them. Ask before long work.
    """
    path = Path(path)
    if "\0" in str(path):
        raise InputError(f"{str(path)!r}: the name of a file holds no NUL")
    if suffixes and path.suffix.lower() not in suffixes:
        raise InputError(f"{str(path)!r}: the name of this file must end in {', '.join(suffixes)}")
    try:
        if path.is_dir():
            raise InputError(f"{str(path)!r} is a folder; name a file in it")
        if path.exists() and not path.is_file():
            raise InputError(f"{str(path)!r} is not a regular file; choose another name")
        target = _target(path)
        if not target.parent.is_dir():
            raise InputError(
                f"no folder {str(target.parent)!r} to write {target.name} to; make it first"
            )
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror}") from None
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"the folder {str(target.parent)!r} is not writable; choose another")


def _target(path: Path) -> Path:
    """Where a link leads, so that it stays one; or `path` itself."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def write_whole(path: str | Path, content: bytes | str | Callable) -> Path:
    """Write bytes, text, or what content(binary file) writes, beside `path`; then rename.

    A link stays, and what it leads to is written. Whatever stops it, a file that was there before
    is intact. Raises InputError as `check_target`, or when the disk refuses.
    """
    path = Path(path)
    check_target(path)
    target = _target(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
        os.replace(partial, target)
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            partial.unlink()
    return path
