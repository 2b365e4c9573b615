"""What the chapters share beyond mathematics: the run profile, and showing tested source."""

import inspect
import os
from textwrap import dedent

from tdmlib.errors import InputError

PROFILES = ("light", "full")


def profile() -> str:
    """The profile this run was asked for: TDM_PROFILE, "light" unless set to "full"."""
    name = os.environ.get("TDM_PROFILE", "light")
    if name not in PROFILES:
        raise InputError(f"TDM_PROFILE={name!r} is unknown; choose one of {', '.join(PROFILES)}")
    return name


def show_source(*objects):
    """The tested source of functions or classes, as a highlighted block."""
    from IPython.display import Markdown

    code = "\n\n".join(dedent(inspect.getsource(thing)).rstrip() for thing in objects)
    return Markdown(f"```python\n{code}\n```")


def show_identities(identities: dict):
    """Equations that `tdmlib.linear.symbolic` has asserted, a display line each."""
    from IPython.display import Markdown
    from sympy import latex

    return Markdown("\n\n".join(f"$$\n{latex(equation)}\n$$" for equation in identities.values()))
