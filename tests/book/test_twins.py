"""The committed notebooks show the sources beside them, executed by the library beside them."""

import json

from conftest import load_tool

book = load_tool()
MEGABYTE = 1_000_000


def test_twin_shows_its_source(chapter):
    assert book.twin_faults(book.Chapter(chapter.name, chapter.header)) == []


def test_twin_ran_from_top_to_bottom(chapter):
    cells = [c for c in book.read_notebook(chapter.twin).cells if c.cell_type == "code"]
    ran = [cell.execution_count for cell in cells if cell.source.strip()]
    assert ran == list(range(1, len(ran) + 1))


def test_twin_has_no_warnings_errors_or_private_paths(chapter):
    cells = [c for c in book.read_notebook(chapter.twin).cells if c.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    bad = [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert bad == []
    assert str(book.ROOT) not in json.dumps(outputs)


def test_twin_is_small(chapter):
    assert chapter.twin.stat().st_size < MEGABYTE
