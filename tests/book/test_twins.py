"""The committed notebooks show the sources beside them, executed by the library beside them."""

import json
import re

import jupytext
from conftest import load_tool

book = load_tool()
MEGABYTE = 1_000_000
SHOWN = re.compile(r"```python\n(.*?)```", re.DOTALL)


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


def test_code_is_no_wider_than_the_page(chapter):
    cells = [c for c in jupytext.read(chapter.source).cells if c.cell_type == "code"]
    assert [line for c in cells for line in c.source.splitlines() if len(line) > 88] == []
    outputs = [o for c in book.read_notebook(chapter.twin).cells for o in c.get("outputs", [])]
    texts = [o.get("data", {}).get("text/markdown", "") for o in outputs]
    code = [block for text in texts for block in SHOWN.findall(text)]
    assert [line for block in code for line in block.splitlines() if len(line) > 92] == []
