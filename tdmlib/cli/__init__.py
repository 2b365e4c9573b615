"""The `tdm` command. Each subcommand imports what it needs when it runs, so that none waits."""

import sys
from importlib import import_module
from typing import Annotated

import typer

from tdmlib import __version__
from tdmlib.errors import InputError

app = typer.Typer(
    name="tdm",
    help="Few-step diffusion: merge plans, and distillation by trajectory distribution matching.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False):
    if version:
        print(f"tdm {__version__}")
        raise typer.Exit


@app.command()
def plan(
    steps: Annotated[int, typer.Option(help="Teacher steps T ≥ 2.")],
    time: Annotated[float, typer.Option(help="Training time s ≥ 0 of each merge.")],
    lam: Annotated[float, typer.Option(help="Data variance λ ≥ 0.")],
    strategy: Annotated[str | None, typer.Option(help="Print this strategy's plan.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
):
    """What the four canonical merge strategies lose on Gaussian data of variance λ."""
    _module("plan").run(steps, time, lam, strategy, as_json)


def _module(name: str):
    return import_module(f"tdmlib.cli.{name}")


def main(arguments: list[str] | None = None) -> None:
    """Run `tdm`. What the user can mend is one line on stderr and exit status 2."""
    try:
        sys.exit(app(arguments, standalone_mode=False))
    except (InputError, typer.TyperException) as error:
        usage = isinstance(error, typer.TyperException)
        message = " ".join((error.format_message() if usage else str(error)).split())
        if message:  # a bare `tdm` has printed its help already
            hint = " (tdm --help lists commands and options)" if usage else ""
            print(f"tdm: {message}{hint}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("tdm: interrupted", file=sys.stderr)
        sys.exit(130)
