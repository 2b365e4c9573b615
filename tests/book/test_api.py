"""The pages of the library: every public name once, with the way to its chapter and back."""

import ast
import re
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from conftest import ROOT, load_tool
from typer.main import get_command

from tdmlib.cli import app

LIBRARY = ROOT / "tdmlib"
NOT_FOR_IMPORT = {"cli", "__main__.py"}
PLUMBING = "chapters/api/plumbing"  # files, records, errors: nothing there to derive
NO_TEXT = re.compile(r'<svg.*?</svg>|<div class="highlight">.*?</div>', re.DOTALL)


def listed(module: str, tree: ast.Module) -> list[str] | None:
    """What a module lists as public, if it does."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            try:
                return ast.literal_eval(node.value)
            except ValueError:  # it is computed
                return import_module(module).__all__
    return None


def public_names(path: Path = LIBRARY) -> set[str]:
    """What `__all__` lists, or else what a module defines; a package speaks for its modules."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path).read_text("utf-8"))
    names = listed(module, tree)
    inside = sorted(path.iterdir()) if path.is_dir() else []
    parts = [p for p in inside if p.suffix == ".py" or (p / "__init__.py").is_file()]
    parts = [p for p in parts if p.name not in {"__init__.py", *NOT_FOR_IMPORT}]
    if names is None:
        defined = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        names = [name for name in defined if not name.startswith("_")]
    else:
        parts = [p for p in parts if p.is_dir()]
    return {f"{module}.{name}" for name in names}.union(*map(public_names, parts))


def names_in_chapters() -> set[str]:
    """The functions and classes that chapters import from the library."""
    found = set()
    for chapter in load_tool().chapters():
        imports = r"^from (tdmlib[\w.]*) import (?:\(([^)]*)\)|(.*))"
        text = chapter.source.read_text(encoding="utf-8")
        for module, several, one in re.findall(imports, text, re.MULTILINE):
            folder = ROOT.joinpath(*module.split("."))
            for name in re.findall(r"\w+", several or one):
                if not ((folder / name).is_dir() or (folder / f"{name}.py").is_file()):
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
    """The articles of all pages, without figures and code."""
    found = {}
    for page in load_tool().pages():
        text = (html / f"{page}.html").read_text("utf-8")
        article = text[text.index("<article") : text.index("</article>")]
        found[page] = BeautifulSoup(NO_TEXT.sub("", article), "html.parser")
    return found


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
    public = public_names() | names_in_chapters()
    assert sorted(public - set(found)) == []
    assert sorted(set(found) - public) == []
    assert max(found.values()) == 1


def test_every_entry_leads_to_a_chapter(entries):
    without = [
        name
        for name, entry in entries
        if entry.page != PLUMBING and not name.rsplit(".")[-1].isupper()
        if not entry.ways_back("In the book") | entry.ways_back("Used in")
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
        assert not re.search(r"tdmlib\.|numpy\.|typing\.|collections\.| at 0x", text), name
        shown = entry.signature.select_one(".sig-name")
        assert shown.get_text() == name.rsplit(".")[-1]


def test_names_in_docstrings_and_prose_are_links(entries, soups):
    linked = dict(entries)["tdmlib.linear.optimal_plan"].content
    assert "chapters/api/linear#tdmlib.linear.w2_error" in {
        target("chapters/api/linear", link) for link in linked("a")
    }
    notation = soups["chapters/notation"]
    (code,) = (code for code in notation("code") if code.get_text().startswith("linear.residual("))
    assert target("chapters/notation", code.parent) == "chapters/api/linear#tdmlib.linear.residual"


def test_source_is_in_the_book(entries, html):
    for name, entry in entries:
        if name.rsplit(".")[-1].isupper():
            continue
        link = entry.signature.find("a", href=re.compile("_modules/"))
        path, _, anchor = target(entry.page, link).partition("#")
        assert f'id="{anchor}"' in (html / f"{path}.html").read_text("utf-8")


def test_the_command_line_shows_every_option(soups):
    page = soups["chapters/api/command_line"]
    for name, command in get_command(app).commands.items():
        (section,) = page.select(f"section#tdm-{name}")
        shown = {code.get_text().split(" ")[0] for code in section.select("li code")}
        assert {p.opts[0] for p in command.params if p.opts[0].startswith("--")} <= shown


@pytest.mark.parametrize(
    ("written", "typeset"),
    [("αΣ_m S⁻¹", r"αΣ\ :sub:`m`\  S⁻¹"), ("softmax_m(q)", r"softmax\ :sub:`m`\ (q)"),
     ("∏ f(P_{group})", r"∏ f(P\ :sub:`group`\ )"), ("x_hat, last_rate", "x_hat, last_rate"),
     ('`z_t` or part="all"', '`z_t` or ``part="all"``'), ("**kwargs", r"\*\*kwargs")],
)  # fmt: skip
def test_indices_are_lowered_and_names_are_left_alone(written, typeset):
    assert load_tool(tool="docstrings").typeset(written) == typeset
