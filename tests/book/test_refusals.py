"""What the tool refuses, it refuses at once and in one line."""

import subprocess

import pytest
from conftest import CHAPTER, ROOT


def is_one_line(text: str) -> bool:
    return text.endswith("\n") and text.count("\n") == 1


def test_an_unknown_profile(project):
    project.library.write_text("VALUE = 2\n")
    said = project.fails("execute", TDM_PROFILE="Full")
    assert is_one_line(said) and "TDM_PROFILE='Full' is unknown" in said


@pytest.mark.parametrize("page", ["chapters/deep/toy", "other/toy", "chapters/my toy"])
def test_a_page_with_code_elsewhere_or_with_a_blank(project, page):
    path = project.root / f"{page}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(CHAPTER)
    project.list_page(page)
    said = project.fails("execute")
    assert is_one_line(said) and f"{page}.md has code, so it must be in chapters/ itself" in said


def test_a_page_without_code_may_be_anywhere(project):
    (project.root / "my notes.md").write_text("# Notes\n")
    project.list_page("my notes")
    assert [chapter.name for chapter in project.tool.chapters()] == ["01_toy"]


def test_a_broken_header(project):
    project.source.write_text(CHAPTER.replace("jupytext:", "jupytext: ["))
    said = project.fails("check")
    assert is_one_line(said) and said.startswith("chapters/01_toy.md cannot be read: ")


def test_a_broken_table_of_contents(project):
    (project.root / "_toc.yml").write_text("root: [")
    said = project.fails("check")
    assert is_one_line(said) and said.startswith("_toc.yml cannot be read: ")


def test_a_name_that_is_not_of_one_chapter(project, monkeypatch):
    tool = project.tool
    [toy] = tool.chapters()
    with pytest.raises(SystemExit, match="must name one chapter of: 01_toy"):
        tool.select("")
    both = [toy, tool.Chapter("01_toy_again", toy.header)]
    monkeypatch.setattr(tool, "chapters", lambda: both)
    with pytest.raises(SystemExit, match="must name one chapter of: 01_toy, 01_toy_again"):
        tool.select("01")
    assert tool.select("01_toy") == [toy]


def test_make_hands_on_a_name_as_it_is(tmp_path):
    name = """"; echo 'INJECTED'; echo "$HOME"""
    makefile = tmp_path / "Makefile"  # without what would install the project
    makefile.write_text((ROOT / "Makefile").read_text().replace(": .venv/.installed", ":"))
    show = "BOOK=python3 -c 'import sys; print(sys.argv[1:])'"
    command = ["make", "-C", str(tmp_path), "--no-print-directory", "chapter", show]
    done = subprocess.run(
        [*command, "NAME=" + name.replace("$", "$$")], capture_output=True, text=True
    )
    assert done.stdout == f"{['chapter', name]}\n", done.stderr
