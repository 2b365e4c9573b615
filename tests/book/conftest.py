"""The book under test: its tool as a module, and its pages, built when they are not fresh."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_tool(root: Path = ROOT) -> ModuleType:
    """tools/book.py of a project, as a module of its own."""
    name = f"book_tool_{abs(hash(root))}"
    spec = importlib.util.spec_from_file_location(name, root / "tools" / "book.py")
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
