"""A Sphinx extension: docstrings of plain prose, as autodoc wants them.

They hold Unicode formulas, names in single backticks, and lists of arguments in NumPy's manner with
one line an argument, "name : what it is". Else reStructuredText would see mark-up in formulas.
"""

import re
from inspect import getdoc
from typing import Any

from sphinx.application import Sphinx

MARKUP = re.compile(
    r"""(?P<name>`[^`]*`)
    |(?P<value>(\w+=)?"[^"\s]+")
    |(?<![a-z])(?P<symbol>(∇|[^\W\d_])\u0302?)_(\{(?P<long>.*?)\}|(?P<short>\w))(?![^\W²³])
    |(?P<greek>[α-ω]|score|softmax)_(?P<word>[^\W\d_²]+)
    |(?P<sign>[*|\\]|(?<=\w)_(?!\w))""",
    re.VERBOSE,
)
RULE = re.compile(r"-{3,}")
ARGUMENT = re.compile(r"(\S.*?) : (.*)")


def typeset(line: str) -> str:
    """Indices are lowered, values in quotes are code, names stay, and all else is plain text."""

    def one(found: re.Match) -> str:
        index = found["long"] or found["short"] or found["word"]
        if index:
            index = index.replace("_i", "ᵢ").replace("_k", "ₖ")  # an index's index
            return f"{found['symbol'] or found['greek']}\\ :sub:`{index}`\\ "
        if found["value"]:
            return f"``{found['value']}``"
        return found["name"] or "\\" + found["sign"]

    return MARKUP.sub(one, line)


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
            out.append(f"    * **{typeset(argument[1])}** – {typeset(argument[2])}")
        elif section and line:
            out.append("      " + typeset(line.strip()))
        elif line.startswith("    ") and (not before or out[-1].startswith("| ")):
            out.append("| " + typeset(line.strip()))
        else:
            section = False
            out.append(typeset(line))
    return out


def process_docstring(app: Sphinx, what, name, thing, options, lines: list[str]) -> None:
    if what == "data" and "\n".join(lines).strip() == getdoc(type(thing)):
        lines.clear()  # what a dict is, the reader knows
    lines[:] = to_markup(lines)


def process_signature(app: Sphinx, what, name, thing, options, signature, returns):
    """Results and protocols are not made by hand, so they show no arguments."""
    result = "Attributes\n" in (thing.__doc__ or "")
    if what == "class" and (result or getattr(thing, "_is_protocol", False)):
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
