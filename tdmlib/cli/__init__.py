"""The `tdm` command. Each subcommand imports what it needs when it runs, so that none waits."""

import sys
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from tdmlib import __version__
from tdmlib.errors import InputError

INTERRUPTED = 130

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
    time: Annotated[float, typer.Option(help="Training time s ≥ 0; see --budget.")],
    lam: Annotated[float | None, typer.Option(help="Data variance λ ≥ 0.")] = None,
    spectrum: Annotated[
        Path | None,
        typer.Option(help="Many λ instead: a .npy file of variances, or of data (samples first)."),
    ] = None,
    schedule: Annotated[
        str, typer.Option(help="cosine, linear, scaled-linear, flow-matching or edm.")
    ] = "cosine",
    reference: Annotated[
        str, typer.Option(help="Come close to the teacher, or to the exact flow.")
    ] = "teacher",
    budget: Annotated[
        str, typer.Option(help="s is for each merge, or in total: merge or total.")
    ] = "merge",
    student_steps: Annotated[
        int | None, typer.Option(help="Steps K of the student; 1 by default.")
    ] = None,
    cuts: Annotated[
        str | None, typer.Option(help="Levels where they meet, as in 8,16; else optimised.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="auto, interval, breakpoints, pareto or exhaustive.")
    ] = "auto",
    strategy: Annotated[str | None, typer.Option(help="Show this strategy's plan too.")] = None,
    lines: Annotated[int, typer.Option(help="Lines of a plan to print.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the plan to this file: .png, .svg or .pdf.")
    ] = None,
):
    """The best order in which to merge a teacher's steps on Gaussian data, and what others lose."""
    _module("planning").run(
        steps, time, lam, spectrum, schedule, reference, budget, student_steps, cuts, method,
        strategy, lines, as_json, plot,
    )  # fmt: skip


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def fit(context: typer.Context):
    """Train what a config describes; resume with --ckpt_path last. All options: tdm fit --help."""
    _module("training").run(context.args)


Model = Annotated[str, typer.Option(help="Weights file, or the name of a shipped one.")]
Steps = Annotated[int | None, typer.Option(help="Sampling steps K; what it was trained for, or 4.")]
Seed = Annotated[int, typer.Option(help="Seed of the noise.")]
Guidance = Annotated[float, typer.Option(help="Classifier-free guidance; 1 is none.")]
Solver = Annotated[
    str | None, typer.Option(help="ddim, or dpm++ of second order; what it was trained with.")
]


@app.command()
def sample(
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    model: Model = "digits_tdm4.safetensors",
    steps: Steps = None,
    count: Annotated[int, typer.Option(help="Number of samples.")] = 100,
    labels: Annotated[str | None, typer.Option(help="Classes, such as 3 or 0,1,2.")] = None,
    seed: Seed = 0,
    guidance: Guidance = 1.0,
    solver: Solver = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw the first 60 to this file.")] = None,
):
    """Draw samples from a teacher or a distilled student."""
    _module("sampling").run_sample(model, steps, count, seed, labels, guidance, solver, out, plot)


@app.command()
def evaluate(
    model: Model = "digits_tdm4.safetensors",
    steps: Steps = None,
    count: Annotated[int, typer.Option(help="Number of samples to draw.")] = 5000,
    seed: Seed = 0,
    guidance: Guidance = 1.0,
    solver: Solver = None,
    samples: Annotated[Path | None, typer.Option(help="Measure this file instead.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the numbers as JSON.")] = None,
):
    """Measure a model's samples, or those of a file, against the real digits."""
    _module("sampling").run_evaluate(model, steps, count, seed, guidance, solver, samples, out)


@app.command()
def encode(
    weights: Annotated[str, typer.Argument(help="Weights of a VAE, or the name of shipped ones.")],
    images: Annotated[str, typer.Argument(help="A folder of images; or digits, or patches.")],
    out: Annotated[Path, typer.Argument(help="The .npy file to write, for tdm plan --spectrum.")],
    count: Annotated[
        int | None, typer.Option(help="Take at most so many images; 20,000 by default.")
    ] = None,
    crop: Annotated[
        int | None, typer.Option(help="Pixels of the central square; 148 for CelebA.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Samples of the posterior with this seed, not its means.")
    ] = None,
    unit: Annotated[bool, typer.Option("--unit", help="Scale to variance 1.")] = False,
):
    """Encode images by a VAE: one row of latents an image."""
    _module("encoding").run(weights, images, out, count, crop, seed, unit)


def _module(name: str):
    return import_module(f"tdmlib.cli.{name}")


def _warn(message, *_) -> None:
    print(f"tdm: warning: {' '.join(str(message).split())}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """Run `tdm`. What the user can mend is one line on stderr and exit status 2.

    Status 130 is Ctrl-C; 1 is a file or pipe that failed, stdout for one. Warnings are one line.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _warn  # without the line of source that Python adds
        _run(arguments)


def _run(arguments: list[str] | None) -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a λ that the terminal lacks is no reason to stop
            stream.reconfigure(errors="replace")
    try:
        status = app(arguments, standalone_mode=False)
        print(end="", flush=True)  # what stdout refuses, it refuses here and not after us
    except (InputError, typer.TyperException) as error:
        usage = isinstance(error, typer.TyperException)
        message = " ".join((error.format_message() if usage else str(error)).split())
        if message:  # a bare `tdm` has printed its help already
            hint = " (tdm --help lists commands and options)" if usage else ""
            print(f"tdm: {message}{hint}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        try:
            print(end="", flush=True)
        except OSError:
            with suppress(OSError):
                sys.stdout.close()  # or Python tries once more to write what is left
        if not isinstance(error, BrokenPipeError):  # `tdm … | head` has all that it wants
            print(f"tdm: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    if status == INTERRUPTED:  # which is also what typer makes of a KeyboardInterrupt
        print("tdm: interrupted", file=sys.stderr)
    sys.exit(status)
