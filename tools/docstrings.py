"""A Sphinx extension: docstrings of plain prose, as autodoc wants them.

They hold Unicode formulas, names in single backticks, and lists of arguments in NumPy's manner with
one line an argument, "name : what it is". What reStructuredText would take for mark-up is escaped.
"""

import re
from typing import Any

from sphinx.application import Sphinx

MARKUP = re.compile(r"(`[^`]*`)|([*|\\]|(?<=\w)_(?!\w))")
RULE = re.compile(r"-{3,}")
ARGUMENT = re.compile(r"(\S.*?) : (.*)")


def escaped(line: str) -> str:
    """The line with all mark-up outside of backticks made plain."""
    return MARKUP.sub(lambda found: found[1] or "\\" + found[2], line)


def to_markup(lines: list[str]) -> list[str]:
    """Sections become fields with a list, indented blocks keep their lines, the rest is prose."""
    out: list[str] = []
    section = False
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        if RULE.fullmatch(after) and line:
            section = True
            out.append(f":{line}:")
        elif RULE.fullmatch(line):
            continue
        elif section and (argument := ARGUMENT.fullmatch(line)):
            out.append(f"    * **{escaped(argument[1])}** – {escaped(argument[2])}")
        elif section and line:
            out.append("      " + escaped(line.strip()))
        elif line.startswith("    ") and (not before or out[-1].startswith("| ")):
            out.append("| " + escaped(line.strip()))
        else:
            section = False
            out.append(escaped(line))
    return out


def process_docstring(app: Sphinx, what, name, thing, options, lines: list[str]) -> None:
    if what == "data" and thing.__doc__ == type(thing).__doc__:
        lines.clear()  # what a dict is, the reader knows
    lines[:] = to_markup(lines)


def process_signature(app: Sphinx, what, name, thing, options, signature, returns):
    """Results are not made by hand: a class that lists its attributes shows no arguments."""
    if what == "class" and "Attributes\n" in (thing.__doc__ or ""):
        return "", None


def skip_member(app: Sphinx, what, name, thing, skip, options) -> bool | None:
    """The fields of a named tuple all say "Alias for field number"."""
    return True if str(thing.__doc__).startswith("Alias for field") else None


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
