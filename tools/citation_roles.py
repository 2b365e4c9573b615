"""A Sphinx extension: entries of the bibliography are list items to a screen reader.

docutils marks them `doc-biblioentry`, a role that is deprecated, inside of a `list`.
"""

from typing import Any

from sphinx.application import Sphinx


def rename_role(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any):
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", rename_role)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
