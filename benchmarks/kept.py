"""Measurements that a benchmark does not make twice: when interrupted, and when extended."""

import json
import sys
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path

from tdmlib.files import write_whole
from tdmlib.records import read_record, revisions

Row = tuple[str, ...]  # the keys that lead to it in a record's numbers


def kept(path: Path, how, measure: Callable, *arguments):
    """What `measure` found before, as it lies at `path`, or else finds now.

    It is measured anew where `how` (JSON) or the arguments differ from those of the file; folders
    among them do not matter. The code behind `measure` is not seen: where that has changed, work in
    another folder.
    """
    asked = [how, [a for a in arguments if not isinstance(a, Path)]]
    asked = json.loads(json.dumps(asked))  # tuples are lists there
    before = json.loads(path.read_text()) if path.exists() else {}
    if before.get("asked") != asked:
        before = {"asked": asked, "found": measure(*arguments)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(before).encode())
    return before["found"]


def carried(
    name: str, config: dict, seeds: Sequence[int],
    made: Callable[[dict], dict[Row, object]], anew: list[str],
):  # fmt: skip
    """Rows that the record `name` holds of the same settings and seeds, and their `revisions`.

    `made` gives, of a configuration, all that goes into each row; those of a label in `anew` stay
    behind. The second is None without rows. Ends the program for a label that no row has.
    """
    record = read_record(name)
    before, now = made(record["config"]), made(json.loads(json.dumps(config)))  # tuples are lists
    if unknown := [label for label in anew if label not in {row[-1] for row in now}]:
        sys.exit(f"no row is labelled {unknown[0]}")
    rows = {}
    same = record["seeds"] == list(seeds)
    for row in (r for r in now if same and before.get(r) == now[r] and r[-1] not in anew):
        if found := reduce(lambda part, key: part.get(key, {}), row, record["numbers"]):
            rows[row] = found
    return rows, revisions(name, [" ".join(row) for row in rows]) if rows else None
