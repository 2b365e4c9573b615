"""Denoisers in safetensors files that say what they are: no pickle, no code, no guessing."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from tdmlib import denoisers, schedules
from tdmlib.errors import InputError
from tdmlib.files import write_whole
from tdmlib.models.residual_mlp import ResidualMLP

NETWORKS = {"ResidualMLP": ResidualMLP}
PREDICTIONS = {"FromV": denoisers.FromV, "FromFlow": denoisers.FromFlow}


def save_denoiser(path: str | Path, denoiser, dtype=torch.float32, **notes) -> Path:
    """Write network, prediction and schedule to `path`; `notes` (JSON) travel along.

    `dtype` is what the file stores. The file appears whole or not at all.
    """
    description = {
        "prediction": type(denoiser).__name__,
        "network": type(denoiser.network).__name__,
        "config": denoiser.network.config,
        "alpha": denoiser.schedule.alpha.tolist(),
        "sigma": denoiser.schedule.sigma.tolist(),
        "notes": notes,
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().to("cpu", dtype).contiguous() for k, v in denoiser.state_dict().items()}
    return write_whole(path, save(state, metadata={"tdmlib": json.dumps(description)}))


def read_description(path: str | Path) -> dict:
    """What a weights file says of itself. Raises InputError when it is not one of ours."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise InputError(f"no weights file {str(path)!r}") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{str(path)!r} is not a safetensors file: {error}") from None
    if "tdmlib" not in metadata:
        raise InputError(f"{str(path)!r} does not describe a denoiser of tdmlib")
    try:
        about = json.loads(metadata["tdmlib"])
    except ValueError as error:
        raise InputError(f"{str(path)!r} describes its denoiser in broken JSON: {error}") from None
    fields = ("network", "config", "prediction", "alpha", "sigma")
    if missing := [f for f in fields if not isinstance(about, dict) or f not in about]:
        raise InputError(f"{str(path)!r} describes a denoiser without {', '.join(missing)}")
    return about


def load_denoiser(path: str | Path):
    """The denoiser of a weights file, in evaluation mode and float32.

    Raises InputError for a missing file, one that is not ours, tensors that do not fit the network
    that the file describes, or weights that are not finite.
    """
    about = read_description(path)
    try:
        network = NETWORKS[about["network"]](**about["config"])
        schedule = schedules.Schedule(about["alpha"], about["sigma"])
        denoiser = PREDICTIONS[about["prediction"]](network, schedule)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # InputError is a ValueError
        raise InputError(f"{str(path)!r} describes a denoiser unknown here: {error}") from None
    if network.T != schedule.T:
        raise InputError(
            f"{str(path)!r}: the network counts T = {network.T} levels, its schedule {schedule.T}"
        )
    with safe_open(path, "pt") as file:
        state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    check_state(denoiser, state, path)
    for key, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise InputError(f"{str(path)!r} holds NaN or infinite weights in {key}")
    denoiser.load_state_dict(state)
    return denoiser.eval()


def check_state(module: torch.nn.Module, state: dict, source) -> None:
    """Raise InputError naming the first tensor of `state` that does not fit `module`."""
    own = module.state_dict()
    for key in [*own, *state]:
        theirs, ours = (tuple(s[key].shape) if key in s else "missing" for s in (state, own))
        if theirs != ours:
            raise InputError(
                f"{str(source)!r} is of another architecture: {key} is {theirs} there, {ours} here"
            )
