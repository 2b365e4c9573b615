"""A Sphinx extension: the explorer's scripts and style sheet, on its page alone.

They are classic scripts, deferred: browsers load no modules into a page that is opened as a file.
"""

from typing import Any

from sphinx.application import Sphinx

# Each uses those before it.
SCRIPTS = ("linear", "planning", "drawing", "panels", "address", "words", "explorer")

# The theme's scroll spy names a class that its table of contents no longer has, and so takes every
# link on a page for an entry. A link to a state of the explorer, #lam=1.08&T=32, is none.
SPY = """addEventListener("DOMContentLoaded",
    () => { document.body.dataset.bsTarget = "#pst-page-toc-nav"; });"""


def add_files(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    app.add_js_file(None, body=SPY)
    if page == "chapters/explorer":
        app.add_css_file("explorer/explorer.css")
        for name in SCRIPTS:  # before MathJax, which takes long and is deferred, too
            app.add_js_file(f"explorer/{name}.js", priority=100, loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", add_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
