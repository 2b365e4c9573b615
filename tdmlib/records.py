"""Records: measured numbers in data/results/NAME.json, with all it takes to measure them again."""

import json
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from tdmlib.errors import InputError
from tdmlib.files import write_whole
from tdmlib.resources import folder

PACKAGES = ("torch", "lightning", "numpy", "scikit-learn", "tdmlib")


def _revision() -> str:
    """The git revision of the checkout, marked when the library differs from it."""
    try:
        root = folder("data").parent
        git = ["git", "-C", str(root)]
        run = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "tdmlib", "configs"])
        return run.stdout.strip() + ("+changes" if changed.returncode else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def provenance(device: str = "cpu") -> dict:
    """Versions, machine and revision, as every record carries them."""
    return {
        "device": device,
        "processor": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "revision": _revision(),
    }


def _path(name: str) -> Path:
    if not re.fullmatch(r"[\w-]+", name, re.ASCII):  # no way out of the folder
        raise InputError(f"record {name!r:.80}: a name is made of letters, digits, _ and -")
    return folder("data") / "results" / f"{name}.json"


def write_record(
    name: str, numbers: dict, *, config: dict, seeds: list[int], device: str = "cpu",
    earlier: dict | None = None,
) -> Path:  # fmt: skip
    """Write numbers with their configuration, seeds and provenance; whole or not at all.

    `earlier`, as of `revisions`, names what was carried over from the record before.
    Raises InputError for a name of more than letters, digits, _ and -.
    """
    path = _path(name)
    record = {
        "name": name, "numbers": numbers, "config": config, "seeds": seeds,
        **provenance(device), **({"earlier": earlier} if earlier else {}),
    }  # fmt: skip
    path.parent.mkdir(exist_ok=True)
    return write_whole(path, json.dumps(record, indent=1) + "\n")


def revisions(name: str, rows: list[str]) -> dict[str, list[str]]:
    """Which rows of a record were measured at which revision. Raises as `read_record`."""
    record = read_record(name)
    known = {row: at for at, found in record.get("earlier", {}).items() for row in found}
    result = {}
    for row in rows:
        result.setdefault(known.get(row, record["revision"]), []).append(row)
    return result


def read_record(name: str) -> dict:
    """A record by its name.

    Raises InputError that lists the records when there is none, and for a file of broken JSON.
    """
    path = _path(name)
    if not os.path.isfile(path):  # false also for a name too long
        names = ", ".join(sorted(p.stem for p in path.parent.glob("*.json")))
        raise InputError(f"no record {name!r:.80}; there are: {names or 'none'}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"record {name!r} is broken JSON: {error}") from None
