"""The pages are built when what they show changed, from what was executed before."""

from types import SimpleNamespace

import pytest


@pytest.fixture
def sphinx(project, monkeypatch):
    """A tool whose Sphinx writes an empty page, and a list that grows with each run of it."""
    tool, runs = project.tool, []

    def write_page(*_, **__):
        runs.append(None)
        tool.replace(tool.HTML / "chapters" / "01_toy.html", "")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(tool.subprocess, "run", write_page)
    monkeypatch.setattr(tool, "fill_cache", lambda: set)
    return tool, runs


def test_a_page_that_is_missing_is_built_again(sphinx):
    tool, runs = sphinx
    tool.build()
    tool.build()
    assert len(runs) == 1
    (tool.HTML / "chapters" / "01_toy.html").unlink()
    tool.build()
    assert len(runs) == 2


def test_pages_that_executed_a_chapter_again_are_refused(sphinx, monkeypatch):
    tool, _ = sphinx
    held = iter([{"ours"}, {"ours", "that of Sphinx"}])
    monkeypatch.setattr(tool, "fill_cache", lambda: lambda: next(held))
    with pytest.raises(SystemExit, match="executed a chapter again"):
        tool.build()
    assert not (tool.HTML / ".digest").exists()


def test_a_cache_knows_what_was_added(project):
    from jupyter_cache import get_cache

    tool = project.tool
    cached = tool.fill_cache()
    before = cached()
    notebook = tool.read_notebook(project.twin)
    notebook.cells[1].source = "1"
    project.twin.with_name("other.ipynb").write_text(tool.normalised(notebook, ""))
    get_cache(tool.CACHE).cache_notebook_file(
        project.twin.with_name("other.ipynb"), check_validity=False
    )
    assert len(before) == 1 and before < cached()


def test_pages_follow_the_library(project, capsys):
    page = project.root / "_build" / "html" / "chapters" / "01_toy.html"
    project.tool.build()
    assert "the library says 1" in page.read_text()
    project.library.write_text("VALUE = 2\n")
    project.tool.build()
    assert "the library says 2" in page.read_text()
    capsys.readouterr()
    project.tool.build()
    assert "nothing changed" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["_config.yml", "chapters/_static/book.css", "references.bib"])
def test_pages_follow_the_settings(project, path):
    before = project.tool.html_digest()
    (project.root / path).write_text("changed")
    assert project.tool.html_digest() != before
