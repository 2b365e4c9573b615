"""A Sphinx extension: chapters and the library's pages link to each other.

A paragraph of a chapter that begins "In the library:" names, in code, what its section derives or
first explains. Each name links to its entry, and the entry links back to the section. An entry that
no chapter names so links to the chapters whose cells use it. Names are written as short as they
are unique: `composite` may mean two functions, `linear.composite` means one.

Elsewhere inline code that names or calls something public is a link as well, once a section.
"""

import ast
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from IPython.core.inputtransformer2 import TransformerManager
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

HERE = "In the library:"
PAGES = "chapters/api/"
NAME = re.compile(r"([\w.]+)(\(.*\))?")
logger = logging.getLogger(__name__)


def public_names(app: Sphinx) -> dict[str, str]:
    """The entries of the library's pages, without members of classes: name to page."""
    kinds = ("function", "class", "exception", "data")
    objects = app.env.get_domain("py").get_objects()
    own = (entry for entry in objects if entry[2] in kinds and entry[-1] > 0)  # no second names
    return {name: page for name, _, _, page, *_ in own}


def meant(written: str, names: dict[str, str]) -> str | None:
    """The one public name that ends in what is written, if there is just one."""
    found = [name for name in names if f".{name}".endswith(f".{written}")]
    return found[0] if len(found) == 1 else None


def section_of(node: nodes.Node) -> nodes.section | None:
    while node is not None and not isinstance(node, nodes.section):
        node = node.parent
    return node


def heading(section: nodes.section) -> str:
    """The title of a section below those that it is part of, but for the page's own."""
    own = section.next_node(nodes.title).astext()
    above = section.parent
    within = isinstance(above, nodes.section) and isinstance(above.parent, nodes.section)
    return f"{heading(above)} › {own}" if within else own


def lines(doctree: nodes.document) -> Iterator[nodes.paragraph]:
    """The paragraphs that name what their section derives."""
    for paragraph in doctree.findall(nodes.paragraph):
        if paragraph.astext().startswith(HERE):
            yield paragraph


def names_used(cells: list[str]) -> set[str]:
    """The full names that a chapter's cells take from the library: "tdmlib.plots.ellipse".

    Those in cells of another language, and what is asked of IPython (%, !, ?), say nothing.
    """
    tree = ast.parse("\n".join(map(TransformerManager().transform_cell, cells)))
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tdmlib")
        for alias in node.names
    }
    found = set(imported.values())
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in imported:
                found.add(f"{imported[name]}.{attribute}")
    return found


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Remember which sections derive what, and which names the cells of this page use."""
    page = app.env.docname
    if page.startswith(PAGES) or not page.startswith("chapters/"):
        return
    if not hasattr(app.env, "library_links"):
        app.env.library_links = {}
    derived = []
    for line in lines(doctree):
        if (section := section_of(line)) is None:
            logger.warning("%r stands above the page's title", HERE, location=line)
            continue
        place = section["ids"][0], heading(section)
        derived += [(literal.astext(), *place) for literal in line.findall(nodes.literal)]
    cells = [box for box in doctree.findall(nodes.container) if "cell_input" in box["classes"]]
    app.env.library_links[page] = (derived, names_used([cell.astext() for cell in cells]))


def chapter_title(app: Sphinx, page: str) -> str:
    """The title of a page, with the number that its file carries."""
    number = re.match(r".*/(\d+)_", page)
    return (f"{int(number[1])}. " if number else "") + app.env.titles[page].astext()


def link(app: Sphinx, here: str, page: str, anchor: str, child: nodes.Node) -> nodes.reference:
    return make_refnode(app.builder, here, page, anchor, child)


def link_names(app: Sphinx, doctree: nodes.document, here: str) -> None:
    """Inline code becomes a link to the entry that it names."""
    names = public_names(app)
    required = set()
    for line in lines(doctree):
        line["classes"].append("in-the-library")
        required |= {id(literal) for literal in line.findall(nodes.literal)}
    seen = set()
    for literal in list(doctree.findall(nodes.literal)):
        written = NAME.fullmatch(literal.astext())
        name = meant(written[1], names) if written else None
        place = (id(section_of(literal)), name)
        if id(literal) in required:
            if name is None:
                problem = "names nothing public, or several things"
                logger.warning("%r %s", literal.astext(), problem, location=literal)
        elif place in seen or isinstance(literal.parent, nodes.reference):
            continue
        if name:
            seen.add(place)
            literal.replace_self(link(app, here, names[name], name, literal.deepcopy()))


def add_ways_back(app: Sphinx, doctree: nodes.document, here: str) -> None:
    """Below each entry: the sections that derive it, or else the chapters that use it."""
    names = public_names(app)
    derived: dict[str, list] = {}
    used: dict[str, list] = {}
    for page, (sections, uses) in sorted(app.env.library_links.items()):
        for written, anchor, title in sections:
            words = f"{chapter_title(app, page)} › {title}"
            derived.setdefault(meant(written, names), []).append((page, anchor, words))
        for name in uses:
            used.setdefault(name, []).append((page, "", chapter_title(app, page)))
    for entry in doctree.findall(addnodes.desc):
        name = entry[0].get("ids", [""])[0]
        for label, places in (("In the book: ", derived), ("Used in: ", used)):
            if name in places:
                line = nodes.paragraph("", label, classes=["way-back"])
                for position, (page, anchor, words) in enumerate(places[name]):
                    line += nodes.Text("; " if position else "")
                    line += link(app, here, page, anchor, nodes.Text(words))
                content = entry[-1]
                members = content.first_child_matching_class((addnodes.desc, addnodes.index))
                content.insert(len(content) if members is None else members, line)
                break


def on_resolved(app: Sphinx, doctree: nodes.document, here: str) -> None:
    if here.startswith("chapters/"):
        link_names(app, doctree, here)
    if here.startswith(PAGES):
        add_ways_back(app, doctree, here)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", collect)
    app.connect("doctree-resolved", on_resolved)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
