"""Where shipped configs and weights lie: beside the package in a checkout, inside it in a wheel."""

import os
from pathlib import Path

from tdmlib.errors import InputError

_PACKAGE = Path(__file__).parent
_SUFFIX = {"configs": "yaml", "data": "safetensors"}


def folder(kind: str) -> Path:
    """The folder of shipped "data" or "configs". Raises InputError for any other."""
    if kind not in _SUFFIX:
        raise InputError(f"no folder {kind!r} is shipped; choose {' or '.join(_SUFFIX)}")
    for found in (_PACKAGE / kind, _PACKAGE.parent / kind):
        if found.is_dir():
            return found
    raise InputError(f"the folder {kind!r} is missing beside {_PACKAGE}; install tdmlib anew")


def find(kind: str, name: str | Path) -> Path:
    """The file `name` as given, or else the shipped file of that name; kind "data" or "configs".

    Raises InputError that lists what is shipped when there is neither.
    """
    given, name, shipped = name, Path(name), folder(kind)
    if os.path.isfile(name):  # false, not an error, for a name too long or with a NUL
        return name
    inside = shipped / (name.relative_to(kind) if name.parts[:1] == (kind,) else name)
    if os.path.isfile(inside) and inside.resolve().is_relative_to(shipped.resolve()):
        return inside
    names = ", ".join(sorted(p.name for p in shipped.glob(f"*.{_SUFFIX[kind]}")))
    raise InputError(f"no file {str(given)!r:.200}; shipped are {names}")
