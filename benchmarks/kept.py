"""Measurements that an interrupted benchmark does not make twice."""

import json
from collections.abc import Callable
from pathlib import Path

from tdmlib.files import write_whole


def kept(path: Path, how, measure: Callable, *arguments):
    """What `measure` found before, as it lies at `path`, or else finds now.

    It is measured anew where `how` (JSON) or the arguments differ from those of the file; folders
    among them do not matter.
    """
    asked = [how, [a for a in arguments if not isinstance(a, Path)]]
    asked = json.loads(json.dumps(asked))  # tuples are lists there
    before = json.loads(path.read_text()) if path.exists() else {}
    if before.get("asked") != asked:
        before = {"asked": asked, "found": measure(*arguments)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(before).encode())
    return before["found"]
