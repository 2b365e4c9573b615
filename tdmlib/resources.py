"""Where shipped configs and weights lie: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

from tdmlib.errors import InputError

_PACKAGE = Path(__file__).parent


def folder(kind: str) -> Path:
    """The folder of shipped "data" or "configs"."""
    return next(f for f in (_PACKAGE / kind, _PACKAGE.parent / kind) if f.is_dir())


def find(kind: str, name: str | Path) -> Path:
    """The file `name` as given, or else the shipped file of that name; kind "data" or "configs".

    Raises InputError that lists what is shipped when there is neither.
    """
    name, shipped = Path(name), folder(kind)
    if name.is_file():
        return name
    inside = shipped / (name.relative_to(kind) if name.parts[:1] == (kind,) else name)
    if inside.is_file() and inside.resolve().is_relative_to(shipped.resolve()):
        return inside
    suffix = {"configs": "yaml", "data": "safetensors"}[kind]
    names = ", ".join(sorted(p.name for p in shipped.glob(f"*.{suffix}")))
    raise InputError(f"no file {str(name)!r}; shipped are {names}")
