"""What the extension reads out of a chapter, whatever its cells and sections hold."""

import logging
from types import SimpleNamespace

import pytest
from conftest import load_tool
from docutils import nodes
from docutils.utils import new_document


@pytest.fixture(scope="module")
def links():
    return load_tool(tool="library_links")


def test_only_python_says_what_is_used(links):
    cells = [
        "%%bash\nfrom tdmlib import nothing\nls -l | head",
        "from tdmlib import plots\nfrom tdmlib.linear import search as found",
        "%matplotlib inline\n!ls {found}\nfiles = !ls\nfound?",
        "if files:\n    %time plots.ellipse(files)\n    plots.ellipse(files)\nfound.plan",
    ]
    used = {"tdmlib.plots", "tdmlib.plots.ellipse", "tdmlib.linear.search"}
    assert links.names_used(cells) == used | {"tdmlib.linear.search.plan"}
    assert links.names_used([]) == set()


def test_a_line_in_no_section_is_reported_and_not_collected(links, caplog, monkeypatch):
    def line(name):
        return nodes.paragraph("", "In the library: ", nodes.literal("", name))

    section = nodes.section("", nodes.title("", "Steps"), line("merge"), ids=["steps"])
    page = new_document("page")
    page += [line("stray"), section]
    app = SimpleNamespace(env=SimpleNamespace(docname="chapters/01_toy"))
    monkeypatch.setattr(links, "logger", logging.getLogger("links"))
    monkeypatch.setattr(links.logger, "warning", lambda *args, **_: caplog.handler.handle(
        logging.makeLogRecord({"msg": args[0], "args": args[1:]})))  # fmt: skip
    links.collect(app, page)
    assert app.env.library_links == {"chapters/01_toy": ([("merge", "steps", "Steps")], set())}
    [said] = caplog.messages
    assert said == "'In the library:' stands above the page's title"
