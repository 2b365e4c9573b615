"""What re-executes a chapter and what does not, in a small project of its own."""

import shutil

import nbformat
import pytest
from conftest import CHAPTER

STALE = "01_toy.ipynb is stale: text, library, data or versions changed, or it was edited"
DAMAGED = ["", "{}", "[]", "<<<<<<< HEAD\n{}\n", '{"cells": [']


def test_nothing_runs_when_nothing_changed(project):
    assert not project.executes()


def test_a_library_edit_renews_the_output(project):
    project.library.write_text("VALUE = 2\n")
    assert project.faults() == [STALE]
    assert project.executes()
    assert project.printed() == "the library says 2\n"
    assert project.faults() == []


@pytest.mark.parametrize(
    "path",
    [
        "constraints.txt",
        "configs/new.yaml",
        "data/new.json",
        "tdmlib/deep/new.py",
        "tdmlib/weights.npz",
        "tools/book.py",
    ],
)
def test_every_input_counts(project, path):
    assert not project.is_stale()
    (project.root / path).parent.mkdir(exist_ok=True)
    with (project.root / path).open("a") as file:
        file.write("# changed\n")
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


def test_the_second_of_two_equal_cells_is_named(project, capsys):
    cell = "```{code-cell} ipython3\ncount += 1\nassert count < 3\n```\n"
    first = "```{code-cell} ipython3\ncount = 1\n```\n"
    text = f"{CHAPTER}\nMark:\ncount += 1\n\n{first}\n{cell}\n{cell}"
    project.source.write_text(text)
    with pytest.raises(SystemExit):
        project.executes()
    line = len(text.splitlines()) - 2
    assert f"chapters/01_toy.md:{line}: this cell failed" in capsys.readouterr().err


def test_a_byte_order_mark_is_no_part_of_the_chapter(project):
    project.source.write_text(CHAPTER.replace("the library", "this library"), "utf-8-sig")
    assert project.executes()
    assert project.printed() == "this library says 1\n"
    assert project.faults() == []


@pytest.mark.parametrize("edit", [("says 1", "says 7"), ("print(", "print(1, ")])
def test_an_edited_notebook_is_renewed_from_what_was_executed(project, edit):
    before = project.twin.read_text()
    project.twin.write_text(before.replace(*edit))
    assert STALE in project.faults()
    assert not project.executes()
    assert project.twin.read_text() == before


def test_a_notebook_that_another_machine_executed_is_left_alone(project):
    tool = project.tool
    [chapter] = tool.chapters()
    theirs = tool.sealed(project.twin.read_text().replace("says 1", "says 1.0"), chapter.digest())
    project.twin.write_text(theirs)
    assert project.faults() == []
    assert not project.executes()
    assert project.twin.read_text() == theirs


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_notebook_is_told_and_renewed(project, damage):
    before = project.twin.read_text()
    project.twin.write_text(damage)
    assert project.faults() == ["01_toy.ipynb is damaged"]
    assert not project.executes()
    assert project.twin.read_text() == before


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_run_is_stale(project, damage):
    [chapter] = project.tool.chapters()
    chapter.executed.write_text(damage)
    assert project.is_stale()
    assert project.faults() == []


def test_a_run_is_kept_without_its_times(project):
    tool = project.tool
    notebook = tool.read_notebook(project.twin)
    notebook.cells[1].metadata["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
    [chapter] = tool.chapters()
    assert tool.normalised(notebook, chapter.digest()) == project.twin.read_text()


def test_a_twin_has_the_metadata_and_cells_of_its_source(project):
    twin = nbformat.read(project.twin, as_version=4)
    twin.cells[1].metadata["tags"] = ["hide-input"]
    nbformat.write(twin, project.twin)
    assert "01_toy.ipynb: metadata of cell 1 differs from the source" in project.faults()
    del twin.cells[0]
    nbformat.write(twin, project.twin)
    assert "01_toy.ipynb has 1 cells, not 2" in project.faults()


def test_a_stale_twin_is_told_cell_by_cell(project):
    project.source.write_text(CHAPTER.replace("the library says", "it says"))
    assert "01_toy.ipynb: source of cell 1 differs from the source" in project.faults()
