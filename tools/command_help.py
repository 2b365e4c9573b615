"""A Sphinx extension: the directive `command-help` shows what each `tdm COMMAND --help` says."""

import re
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

BARE_OPTION = re.compile(r"(?<!`)(--[a-z][\w-]*)")  # would be typeset with a dash


def help_pages() -> str:
    """Each subcommand of `tdm` in Markdown, a section each, by typer itself."""
    from typer import Context
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from tdmlib.cli import app

    command = get_command(app)
    context = Context(command, info_name="tdm")
    pages = (
        get_docs_for_click(obj=each, ctx=context, name=name, indent=1, call_prefix="tdm")
        for name, each in command.commands.items()
    )
    return BARE_OPTION.sub(r"`\1`", "\n".join(pages))


class CommandHelp(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        box = nodes.Element()
        self.state.nested_parse(StringList(help_pages().splitlines()), 0, box, match_titles=True)
        return box.children


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
