"""`tdm fit`: LightningCLI on a YAML file with class paths."""

import logging
import re
import sys
import warnings
from pathlib import Path

import torch
import yaml
from jsonargparse import ArgumentError
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from tdmlib.errors import InputError, check_number
from tdmlib.resources import find


class TdmCLI(LightningCLI):
    """LightningCLI that finds shipped configs, and resumes from a checkpoint or not at all."""

    def add_arguments_to_parser(self, parser):
        parser.add_argument(
            "--threads",
            type=int | None,
            help="CPU threads; with 1 sums are taken in one order, and cores are not fought over",
        )

    def before_instantiate_classes(self):
        if (threads := self.config.fit.threads) is not None:
            torch.set_num_threads(check_number("threads", threads, 1, 1024, whole=True))

    def parse_arguments(self, parser, args):
        super().parse_arguments(parser, args)
        if (wanted := self.config.fit.ckpt_path) not in (None, "last"):
            _checkpoint(Path(wanted))  # before Lightning reads it for hyperparameters

    def before_fit(self):
        wanted = self.config.fit.ckpt_path
        if wanted is None:
            return
        folder = Path(self.trainer.checkpoint_callback.dirpath or "")
        path = folder / "last.ckpt" if wanted == "last" else Path(wanted)
        self.model.on_load_checkpoint(_checkpoint(path))  # before anything is written
        self.config_init.fit.ckpt_path = str(path)
        print(f"resuming from {path}")

    def fit(self, model, **kwargs):
        try:
            self.trainer.fit(model, **kwargs)
        except SystemExit:  # what Lightning makes of Ctrl-C
            if not self.trainer.interrupted:
                raise
            print("stopped; --ckpt_path last goes on from the last finished epoch", file=sys.stderr)
            raise KeyboardInterrupt from None

    def after_fit(self):
        if path := getattr(self.trainer.checkpoint_callback, "best_model_path", ""):
            print(f"checkpoint for resuming: {path}")
        if self.trainer.log_dir:
            print(f"logs: tensorboard --logdir {self.trainer.log_dir}")


def _checkpoint(path: Path) -> dict:
    """A checkpoint's content. Raises InputError for a missing, cut or foreign file."""
    anew = "leave out --ckpt_path to start anew"
    if not path.is_file():
        raise InputError(f"no checkpoint {str(path)!r} to resume from; {anew}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # on foreign bytes an unpickler may raise anything
        raise InputError(f"{str(path)!r} is cut short or no checkpoint; {anew}") from None
    missing = {"state_dict", "optimizer_states", "loops"}.difference(
        checkpoint if isinstance(checkpoint, dict) else ()
    )
    if missing:
        raise InputError(f"{str(path)!r} is no checkpoint of a training run; {anew}")
    return checkpoint


def _cause(error: BaseException | None) -> InputError | None:
    """The InputError that the parser has wrapped, if any."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def _brief(message: str) -> str:
    """The parser's essay on a value of the wrong type as one sentence, about the innermost key."""
    if option := re.search(r"Option '.+?' is not accepted", message):
        return option[0]
    _, *parts = re.split(r'[Kk]ey "(.+?)":', message)
    key, essay = parts[-2:] if parts else ("", "")
    given = re.search(r"(?:Given|Got) value: (.*?)(?:\. Got value|\n|$)", essay)
    expected = re.search(r"Subtypes: \[(.*)\]", essay) or re.search(
        r"Expected an? (.*)\. Got", essay
    )
    if not (given and expected):
        return message
    value = given[1]
    if nested := re.fullmatch(r"NestedArg\(key='(.*)', val='?(.*?)'?\)", value):
        key, value = f"{key}.{nested[1]}", nested[2]
    if literal := re.search(r"Literal\[(.*?)\]", expected[1]):
        return f"{key} = {value}: choose one of {literal[1]}"
    names = re.findall(r"[\w.]+(?='>|\])", expected[1])
    types = dict.fromkeys("null" if name == "NoneType" else name for name in names)
    return f"{key} = {value}: expected {' or '.join(types) or expected[1]}"


def _with_shipped_configs(arguments: list[str]) -> list[str]:
    found = []
    for k, argument in enumerate(arguments):
        if argument.startswith("--config="):
            argument = f"--config={_config(argument.removeprefix('--config='))}"
        elif k and arguments[k - 1] in ("--config", "-c"):
            argument = _config(argument)
        found.append(argument)
    return found


def _config(name: str) -> str:
    path = find("configs", name)
    try:
        yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{name} is not YAML: {error}") from None
    return str(path)


def run(arguments: list[str]) -> None:
    if not {"-h", "--help", "--config", "-c"} & {a.split("=")[0] for a in arguments}:
        raise InputError("tdm fit needs --config FILE, for one configs/digits_tdm.yaml")
    arguments = _with_shipped_configs(arguments)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    # Averages and moments decay into numbers that CPUs are slow at.
    torch.set_flush_denormal(True)
    threads = torch.get_num_threads()
    try:
        TdmCLI(
            LightningModule,
            trainer_class=Trainer,
            subclass_mode_model=True,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"fit": {"exit_on_error": False}, "exit_on_error": False},
            args=["fit", *arguments],
        )
    except ArgumentError as error:
        raise _cause(error) or InputError(_brief(str(error))) from None
    except (MisconfigurationException, ModuleNotFoundError) as error:
        raise InputError(str(error)) from None
    except ValueError as error:
        if (cause := _cause(error)) is None:
            raise
        raise cause from None
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
