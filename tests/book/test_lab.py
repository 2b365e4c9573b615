"""JupyterLab opens every chapter, however its files are dated, and saves what it has read."""

import os
import shutil

import jupytext
from conftest import ROOT


def test_a_chapter_opens_and_saving_it_changes_nothing(chapter, tmp_path):
    for path in (chapter.source, chapter.twin, ROOT / "chapters" / "jupytext.toml"):
        shutil.copy(path, tmp_path)
    source, twin = tmp_path / chapter.source.name, tmp_path / chapter.twin.name
    os.utime(source, (0, 0))  # the notebook is much the newer
    lab = jupytext.TextFileContentsManager(root_dir=str(tmp_path))
    notebook = lab.get(twin.name)["content"]
    text = jupytext.read(chapter.source)
    assert [c.source for c in notebook.cells] == [c.source for c in text.cells]
    assert any(c.get("outputs") for c in notebook.cells)
    lab.save({"type": "notebook", "content": notebook}, twin.name)
    assert source.read_text(encoding="utf-8") == chapter.source.read_text(encoding="utf-8")
