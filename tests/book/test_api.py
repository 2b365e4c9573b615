"""The pages of the library: every public name once, with the way to its chapter and back."""

import inspect
import pkgutil
import re
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from conftest import ROOT, load_tool
from typer.main import get_command

import tdmlib
from tdmlib.cli import app

NOT_FOR_IMPORT = {"tdmlib.cli", "tdmlib.__main__"}
PLUMBING = "chapters/api/plumbing"  # files, records, errors: nothing there to derive


def is_public(module, name: str) -> bool:
    """Whether a module defines something of that name for others."""
    thing = getattr(module, name)
    kind = inspect.isclass(thing) or inspect.isroutine(thing)
    return kind and not name.startswith("_") and thing.__module__ == module.__name__


def public_names(module) -> set[str]:
    """What `__all__` lists, or else what a module defines; a package speaks for its modules."""
    listed = getattr(module, "__all__", None)
    names = listed or [name for name in vars(module) if is_public(module, name)]
    found = {f"{module.__name__}.{name}" for name in names}
    for _, name, is_package in pkgutil.iter_modules(getattr(module, "__path__", ())):
        full = f"{module.__name__}.{name}"
        if full not in NOT_FOR_IMPORT and (is_package or not listed):
            found |= public_names(import_module(full))
    return found


def names_in_chapters() -> set[str]:
    """The functions and classes that chapters import from the library."""
    found = set()
    for chapter in load_tool().chapters():
        text = chapter.source.read_text(encoding="utf-8")
        for module, several, one in re.findall(
            r"^from (tdmlib[\w.]*) import (?:\(([^)]*)\)|(.*))", text, re.MULTILINE
        ):
            for name in re.findall(r"\w+", several or one):
                if not inspect.ismodule(getattr(import_module(module), name)):
                    found.add(f"{module}.{name}")
    return found


@dataclass(frozen=True)
class Entry:
    page: str
    signature: Tag
    content: Tag

    def ways_back(self, label: str) -> set[str]:
        """Where the lines lead that begin so: "page#section"."""
        lines = self.content.find_all("p", class_="way-back", recursive=False)
        links = [a for p in lines if p.get_text().startswith(label) for a in p.find_all("a")]
        return {target(self.page, link) for link in links}


def target(page: str, link: Tag) -> str:
    """The end of a link on a page, from the root of the book."""
    path, _, anchor = link["href"].partition("#")
    where = (ROOT / page).parent / path if path else ROOT / f"{page}.html"
    return f"{where.resolve().relative_to(ROOT).with_suffix('')}#{anchor}"


@pytest.fixture(scope="module")
def soups(html: Path) -> dict[str, BeautifulSoup]:
    pages = {page: (html / f"{page}.html").read_text("utf-8") for page in load_tool().pages()}
    return {page: BeautifulSoup(text, "html.parser") for page, text in pages.items()}


@pytest.fixture(scope="module")
def entries(soups) -> list[tuple[str, Entry]]:
    return [
        (signature["id"], Entry(page, signature, signature.find_next_sibling("dd")))
        for page, soup in soups.items()
        for signature in soup.select("dl.py > dt.sig")
        if not signature.find_parent("dd")
    ]


@pytest.fixture(scope="module")
def lines(soups) -> list[tuple[str, set[str]]]:
    """The sections with a line "In the library", and where its links lead."""
    return [
        (f"{page}#{line.find_parent('section')['id']}", {target(page, a) for a in line("a")})
        for page, soup in soups.items()
        for line in soup.select("p.in-the-library")
    ]


def test_every_public_name_has_one_entry(entries):
    found = Counter(name for name, _ in entries)
    public = public_names(tdmlib) | names_in_chapters()
    assert sorted(public - set(found)) == []
    assert sorted(set(found) - public) == []
    assert max(found.values()) == 1


def test_every_entry_leads_to_a_chapter(entries):
    without = [
        name
        for name, entry in entries
        if entry.page != PLUMBING and not entry.ways_back("In the book") | entry.ways_back("Used")
    ]
    assert without == []


def test_chapters_and_entries_lead_to_each_other(entries, lines):
    there = {(f"{e.page}#{name}", s) for name, e in entries for s in e.ways_back("In the book")}
    back = {(link, section) for section, links in lines for link in links}
    assert there == back and len(lines) > 30


def test_an_entry_without_a_section_names_the_chapters_that_use_it(entries):
    ellipse = dict(entries)["tdmlib.plots.ellipse"]
    assert ellipse.ways_back("Used in") == {"chapters/01_gaussian_diffusion_is_linear#"}


def test_docstrings_are_typeset(entries):
    for name, entry in entries:
        text = entry.content.get_text()
        assert text.strip(), name
        raw = re.findall(r"`|---|\\|\w_\{| : |:(?:param|sub|obj)\b", text)
        assert raw == [], name


def test_signatures_are_short(entries):
    for name, entry in entries:
        text = entry.signature.get_text()
        assert not re.search(r"tdmlib\.|torch\.|numpy\.|typing\.|collections\.| at 0x", text), name
        shown = entry.signature.select_one(".sig-name")
        assert shown.get_text() == name.rsplit(".")[-1]


def test_names_in_docstrings_and_prose_are_links(entries, soups):
    linked = dict(entries)["tdmlib.linear.optimal_plan"].content
    assert "chapters/api/linear#tdmlib.linear.w2_error" in {
        target("chapters/api/linear", link) for link in linked("a")
    }
    notation = soups["chapters/notation"]
    code = notation.find("code", string=re.compile(r"residual\(schedule"))
    ends = target("chapters/notation", notation.find("a", href=re.compile("linear.residual")))
    assert code or ends == "chapters/api/linear#tdmlib.linear.residual"


def test_source_is_in_the_book(entries, html):
    for name, entry in entries:
        link = entry.signature.find("a", href=re.compile("_modules/"))
        kind = name.rsplit(".")[-1]
        if link is None:
            assert kind.isupper() or kind == "DERIVATIONS", name
            continue
        path, _, anchor = target(entry.page, link).partition("#")
        assert f'id="{anchor}"' in (html / f"{path}.html").read_text("utf-8")


def test_the_command_line_shows_every_option(soups):
    page = soups["chapters/api/command_line"]
    for name, command in get_command(app).commands.items():
        (section,) = page.select(f"section#tdm-{name}")
        shown = {code.get_text().split(" ")[0] for code in section.select("li code")}
        assert {p.opts[0] for p in command.params if p.opts[0].startswith("--")} <= shown
