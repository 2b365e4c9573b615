"""A Sphinx extension: the explorer's scripts and style sheet, on its page alone.

They are classic scripts, deferred: browsers load no modules into a page that is opened as a file.
"""

from typing import Any

from sphinx.application import Sphinx

SCRIPTS = ("linear.js", "panels.js", "explorer.js")  # each uses those before it


def add_files(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if page == "chapters/explorer":
        app.add_css_file("explorer/explorer.css")
        for script in SCRIPTS:
            app.add_js_file(f"explorer/{script}", loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", add_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
