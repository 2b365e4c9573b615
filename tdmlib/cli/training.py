"""`tdm fit`: LightningCLI on a YAML file with class paths."""

import logging
import re
import signal
import sys
import textwrap
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from zipfile import ZipFile

import torch
import yaml
from jsonargparse import ArgumentError
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from tdmlib.errors import InputError, check_number
from tdmlib.files import write_whole
from tdmlib.resources import find

# What must be the same for a resumed run to end as one that was never stopped.
SAME = re.compile(
    r"(model|data|optimizer|lr_scheduler|seed_everything|threads)\b"
    r"|trainer\.((max|min)_(epochs|steps)|precision|accumulate|gradient_clip|limit_train|overfit)"
)
# What a class path can be wrong about, in the parser's words.
IMPORT = re.compile(
    r"No module named '.+?'|module '.+?' has no attribute '.+?'|"
    r"Expected (?:'.+?' to be a subclass of <class '.+?'>|a dot import path string: .+)"
)
ANEW = "to start anew, move its folder away and leave out --ckpt_path"


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all, wherever files of passage are kept."""

    def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, partial(torch.save, checkpoint))


class StopBetweenUpdates(Callback):
    """Ctrl-C waits for the end of the update: within a write it can get lost. The next does not."""

    def __init__(self):
        self.begun = self.asked = self.ended = False

    def ask(self, *_):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def setup(self, *_, **__):
        self.begun = True

    def on_train_batch_end(self, *_):
        if self.asked:
            raise KeyboardInterrupt

    def on_train_end(self, *_):
        self.ended = True


class SameConfig(Callback):
    """Keeps in every checkpoint the configuration that made it, and goes on with no other."""

    def __init__(self, config: dict):
        self.config = {key: str(value) for key, value in _flat(config) if SAME.match(key)}

    def state_dict(self) -> dict[str, str]:
        return self.config

    def check(self, checkpoint: dict, path: Path) -> None:
        theirs = checkpoint["callbacks"].get(self.state_key)
        if not isinstance(theirs, dict):
            raise InputError(f"{str(path)!r} holds no configuration to go on with; {ANEW}")
        for key in {**self.config, **theirs}:
            there, here = (config.get(key, "not set") for config in (theirs, self.config))
            if there != here:
                raise InputError(
                    f"the checkpoint was made with {key} = {there}, this run has {here}; resume "
                    f"with the same settings, or, {ANEW}"
                )


def _flat(node, prefix: str = "") -> Iterator[tuple[str, object]]:
    """("a.b", value) for each leaf of nested mappings."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


class TdmCLI(LightningCLI):
    """LightningCLI that finds shipped configs, and resumes from a checkpoint or not at all."""

    def add_arguments_to_parser(self, parser):
        parser.add_argument(
            "--threads",
            type=int | None,
            help="CPU threads; with 1 sums are taken in one order, and cores are not fought over",
        )

    def parse_arguments(self, parser, args):
        super().parse_arguments(parser, args)
        if (wanted := self.config.fit.ckpt_path) not in (None, "last"):
            _checkpoint(Path(wanted))  # before Lightning reads it for hyperparameters

    def before_instantiate_classes(self):
        if (threads := self.config.fit.threads) is not None:
            torch.set_num_threads(check_number("threads", threads, 1, 1024, whole=True))

    def before_fit(self):
        """Before anything is written: is there something to go on with, or to lose?"""
        same = SameConfig(self.config.fit.as_dict())
        self.trainer.callbacks.append(same)
        self.trainer.strategy.checkpoint_io = WholeCheckpoints()
        for name in ("max_epochs", "max_steps", "limit_train_batches"):
            if getattr(self.trainer, name) == 0:
                raise InputError(f"trainer.{name} = 0: no update would be made; leave it out")
        if self.config.fit.trainer.max_time is not None:
            raise InputError(
                "trainer.max_time ends a run within an epoch, the rest of which would be skipped "
                "by --ckpt_path last; stop it with Ctrl-C instead"
            )
        wanted, last = self.config.fit.ckpt_path, self.last
        if wanted == "last" and not last:
            raise InputError(
                "--ckpt_path last: no ModelCheckpoint with a dirpath keeps the last one here; "
                "name a checkpoint's file"
            )
        path = last if wanted == "last" else wanted and Path(wanted)
        if last and last.is_file() and not (path and path.exists() and last.samefile(path)):
            raise InputError(
                f"{str(last.parent)!r} holds a run already: --ckpt_path last goes on with it; "
                f"{ANEW}"
            )
        if path is None:
            return
        checkpoint = _checkpoint(path)
        same.check(checkpoint, path)
        self.model.on_load_checkpoint(checkpoint)
        self.config_init.fit.ckpt_path = str(path)
        print(f"resuming from {path}")

    @property
    def last(self) -> Path | None:
        """The last checkpoint, if the configuration names a folder to keep it in."""
        folder = getattr(self.trainer.checkpoint_callback, "dirpath", None)
        return folder and Path(folder) / "last.ckpt"

    def fit(self, model, **kwargs):
        (stop,) = (c for c in self.trainer.callbacks if isinstance(c, StopBetweenUpdates))
        before = signal.getsignal(signal.SIGINT)
        if before != signal.SIG_IGN:  # as for a job in the background
            signal.signal(signal.SIGINT, stop.ask)
        try:
            self.trainer.fit(model, **kwargs | {"weights_only": True})
            if not stop.ended:  # a finished run, resumed: it may have been killed before this
                model.on_train_end()
        except SystemExit:  # what Lightning makes of Ctrl-C
            if not self.trainer.interrupted:
                raise
            kept = self.last and self.last.is_file()
            goes_on = f"--ckpt_path last goes on from {self.last}"
            print("\nstopped;", goes_on if kept else "there is no checkpoint yet", file=sys.stderr)
            raise KeyboardInterrupt from None
        finally:
            signal.signal(signal.SIGINT, before)

    def after_fit(self):
        folder = self.trainer.log_dir  # which processes settle together
        if not self.trainer.is_global_zero:
            return
        if path := getattr(self.trainer.checkpoint_callback, "best_model_path", ""):
            print(f"checkpoint for resuming: {path}")
        if folder:
            print(f"logs: tensorboard --logdir {folder}")


def _checkpoint(path: Path) -> dict:
    """A checkpoint's content. Raises InputError for a missing, cut or foreign file."""
    if not path.is_file():
        raise InputError(f"no checkpoint {str(path)!r} to resume from; leave out --ckpt_path")
    try:
        with ZipFile(path) as parts:  # of the checksums there, torch looks at none
            if broken := parts.testzip():
                raise ValueError(f"{broken} is broken")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        fits = _is_of_training(checkpoint)
    except Exception:  # on foreign bytes an unpickler may raise anything
        raise InputError(f"{str(path)!r} is cut short or no checkpoint; {ANEW}") from None
    if not fits:
        raise InputError(f"{str(path)!r} is no checkpoint of a training run; {ANEW}")
    return checkpoint


def _is_of_training(checkpoint) -> bool:
    """Whether what Lightning restores is there, and of the kinds that it takes for granted."""
    kinds = dict(state_dict=dict, loops=dict, callbacks=dict, optimizer_states=list,
                 lr_schedulers=list, epoch=int, global_step=int)  # fmt: skip
    return (
        isinstance(checkpoint, dict)
        and all(isinstance(checkpoint.get(name), kind) for name, kind in kinds.items())
        and "epoch_loop.batch_progress" in checkpoint["loops"].get("fit_loop", ())
        and all(
            isinstance(state, dict) and {"state", "param_groups"} <= state.keys()
            for state in checkpoint["optimizer_states"]
        )
    )


def _cause(error: BaseException | None) -> InputError | None:
    """The InputError that the parser has wrapped, if any."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def _own(error: InputError) -> InputError:
    """Without the traceback that a DataLoader puts in front of what its worker raised."""
    return InputError(str(error).rpartition(f"{InputError.__module__}.InputError: ")[2])


def _brief(message: str) -> str:
    """The parser's essay on a value of the wrong type as one sentence, about the innermost key."""
    if option := re.search(r"Option '.+?' is not accepted", message):
        return option[0]
    _, *parts = re.split(r'[Kk]ey "(.+?)":', message)
    key, essay = parts[-2:] if parts else ("", "")
    if imports := IMPORT.findall(essay):
        return f"{key}: {imports[-1]}"
    given = re.search(r"(?:Given|Got) value: (.*?)(?:\. Got value|\n|$)", essay)
    expected = re.search(r"Subtypes: \[(.*)\]", essay) or re.search(
        r"Expected an? (.*)\. Got", essay
    )
    if not (given and expected):
        return textwrap.shorten(message, 300, placeholder=" …")
    value = given[1]
    problems = re.findall(r"Problem with given class_path '(.+)':\n\s*(?:- )?(.+)", essay)
    if value.startswith("Namespace(") and problems:
        return "{}: {}".format(*problems[-1])
    if nested := re.fullmatch(r"NestedArg\(key='(.*)', val='?(.*?)'?\)", value):
        key, value = f"{key}.{nested[1]}", nested[2]
    if literal := re.search(r"Literal\[(.*?)\]", expected[1]):
        return f"{key} = {value:.80}: choose one of {literal[1]}"
    if value == "None":  # what jsonargparse makes of null for what lies so deep
        return f"{key} = null: say that in the configuration's file, not on the command line"
    lists = re.sub(r"[\w.]+\[(\w+)[^]]*\]", r"<class 'list of \1'>", expected[1])
    names = re.findall(r"[\w. ]+(?='>)", lists)
    types = dict.fromkeys("null" if name == "NoneType" else name for name in names)
    return f"{key} = {value:.80}: expected {' or '.join(types) or expected[1]}"


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
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
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
    stop = StopBetweenUpdates()
    try:
        TdmCLI(
            LightningModule,
            trainer_class=Trainer,
            trainer_defaults={"callbacks": [stop]},
            subclass_mode_model=True,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"fit": {"exit_on_error": False}, "exit_on_error": False},
            args=["fit", *arguments],
        )
    except ArgumentError as error:
        raise _cause(error) or InputError(_brief(str(error))) from None
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"{error.filename}: a file is in the way of this folder; move the file"
        ) from None
    except (
        MisconfigurationException, ValueError, TypeError, RuntimeError, ModuleNotFoundError
    ) as error:  # fmt: skip
        if cause := _cause(error):
            raise _own(cause) from None
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise InputError("out of memory; take a smaller batch_size or network") from None
        if stop.begun and not isinstance(error, MisconfigurationException):
            raise
        # before the training is set up whatever goes wrong is the configuration's
        raise InputError(_brief(str(error) or type(error).__name__)) from None
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
