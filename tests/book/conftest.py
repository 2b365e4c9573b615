"""The book under test: its tool as a module, its pages, and a small project beside it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from browsing import launched, served
from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[2]


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


def load_tool(root: Path = ROOT, tool: str = "book") -> ModuleType:
    """A file of a project's tools/, as a module of its own."""
    name = f"{tool}_tool_{abs(hash(root))}"
    spec = importlib.util.spec_from_file_location(name, root / "tools" / f"{tool}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for every chapter or page of the table of contents."""
    if "chapter" in metafunc.fixturenames:
        chapters = load_tool().chapters()
        metafunc.parametrize("chapter", chapters, ids=[c.name for c in chapters])
    if "page_name" in metafunc.fixturenames:
        metafunc.parametrize("page_name", load_tool().pages())


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of built pages. The build is quick when nothing changed, and locks others out."""
    command = [sys.executable, ROOT / "tools" / "book.py", "build"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "_build" / "html"


@pytest.fixture(scope="module")
def site(html: Path) -> Iterator[str]:
    with served(html) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


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

    def command(self, *arguments: str) -> list[str | Path]:
        return [sys.executable, self.root / "tools" / "book.py", *arguments]

    def fails(self, *arguments: str, **environment: str) -> str:
        """What a command that the tool refuses says, in all."""
        env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
        done = subprocess.run(self.command(*arguments), env=env, capture_output=True, text=True)
        assert done.returncode == 1
        return done.stdout + done.stderr

    def list_page(self, page: str) -> None:
        toc = self.root / "_toc.yml"
        before = toc.read_text()
        start = "" if "chapters:" in before else "chapters:\n"
        toc.write_text(f"{before}{start}- file: {page}\n")

    def add(self, name: str, code: str) -> None:
        """One more chapter, of one cell."""
        text = CHAPTER.partition("import tdmlib")[0] + f"{code}\n```\n"
        (self.source.parent / f"{name}.md").write_text(text)
        self.list_page(f"chapters/{name}")

    def printed(self) -> str:
        cells = json.loads(self.twin.read_text())["cells"]
        return "".join(cells[1]["outputs"][0]["text"])


@pytest.fixture(scope="session")
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
