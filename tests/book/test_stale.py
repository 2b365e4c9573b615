"""What re-executes a chapter and what does not, in a small project of its own."""

import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT, load_tool

CHAPTER = """---
jupytext:
  formats: md:myst,ipynb
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Toy

```{code-cell} ipython3
import tdmlib

print("the library says", tdmlib.VALUE)
```
"""


class Project:
    """A book of one chapter, beside a library of one line."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / "chapters" / "01_toy.md"
        self.twin = root / "chapters" / "01_toy.ipynb"
        self.library = root / "tdmlib" / "__init__.py"

    @property
    def tool(self) -> ModuleType:
        """The tool as a new process would find the project."""
        return load_tool(self.root)

    def executes(self) -> bool:
        tool = self.tool
        stale = [chapter for chapter in tool.chapters() if tool.is_stale(chapter)]
        tool.refresh(tool.chapters())
        return bool(stale)

    def is_stale(self) -> bool:
        tool = self.tool
        return all(map(tool.is_stale, tool.chapters()))

    def faults(self) -> list[str]:
        tool = self.tool
        return [fault for chapter in tool.chapters() for fault in tool.twin_faults(chapter)]

    def printed(self) -> str:
        cells = json.loads(self.twin.read_text())["cells"]
        return "".join(cells[1]["outputs"][0]["text"])


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("executed")
    shutil.copytree(ROOT / "tools", root / "tools")
    shutil.copytree(ROOT / "chapters" / "_static", root / "chapters" / "_static")
    shutil.copy(ROOT / "_config.yml", root)
    (root / "constraints.txt").write_text("numpy==2\n")
    (root / "references.bib").write_text("")
    (root / "_toc.yml").write_text("format: jb-book\nroot: chapters/01_toy\n")
    project = Project(root)
    project.source.write_text(CHAPTER)
    project.library.parent.mkdir()
    project.library.write_text("VALUE = 1\n")
    assert project.executes()
    assert project.printed() == "the library says 1\n"
    return root


@pytest.fixture
def project(executed: Path, tmp_path: Path) -> Project:
    return Project(shutil.copytree(executed, tmp_path / "project"))


def test_nothing_runs_when_nothing_changed(project):
    assert not project.executes()


def test_a_library_edit_renews_the_output(project):
    project.library.write_text("VALUE = 2\n")
    assert project.faults() == ["01_toy.ipynb is stale: text, library, data or versions changed"]
    assert project.executes()
    assert project.printed() == "the library says 2\n"
    assert project.faults() == []


@pytest.mark.parametrize(
    "path", ["constraints.txt", "configs/new.yaml", "data/new.json", "tdmlib/deep/new.py"]
)
def test_every_input_counts(project, path):
    assert not project.is_stale()
    (project.root / path).parent.mkdir(exist_ok=True)
    (project.root / path).write_text("changed")
    assert project.is_stale()


def test_a_fresh_clone_executes_and_leaves_the_notebook_alone(project):
    committed = project.twin.read_bytes(), project.twin.stat().st_mtime_ns
    shutil.rmtree(project.root / "_build")
    assert project.executes()
    assert (project.twin.read_bytes(), project.twin.stat().st_mtime_ns) == committed


def test_running_again_gives_the_same_bytes(project):
    before = project.twin.read_bytes()
    tool = project.tool
    project.twin.unlink()
    tool.refresh(tool.select("01"), force=True)
    assert project.twin.read_bytes() == before


def test_another_profile_executes_and_leaves_the_notebook_alone(project, monkeypatch):
    before = project.twin.read_bytes()
    monkeypatch.setenv("TDM_PROFILE", "full")
    assert project.executes()
    assert project.twin.read_bytes() == before


def test_a_failing_cell_is_named_and_the_old_notebook_stays(project, capsys):
    before = project.twin.read_bytes()
    files = sorted(project.source.parent.iterdir())
    project.library.write_text("")
    with pytest.raises(SystemExit, match="1 of 1 chapters failed"):
        project.executes()
    printed = capsys.readouterr().err
    line = CHAPTER.splitlines().index("import tdmlib") + 1
    assert f"chapters/01_toy.md:{line}" in printed
    assert "has no attribute 'VALUE'" in printed
    assert project.twin.read_bytes() == before
    assert sorted(project.source.parent.iterdir()) == files


def test_a_stale_twin_is_told_cell_by_cell(project):
    project.source.write_text(CHAPTER.replace("the library says", "it says"))
    assert "01_toy.ipynb: source of cell 1 differs from the source" in project.faults()


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
