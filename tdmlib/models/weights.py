"""Networks in safetensors files that say what they are: no pickle, no code, no guessing."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from tdmlib import denoisers, schedules
from tdmlib.errors import InputError, one_of
from tdmlib.files import write_whole
from tdmlib.models.experts import CountExperts, StepExperts
from tdmlib.models.residual_mlp import ResidualMLP
from tdmlib.models.vae import VAE

NETWORKS = {
    "ResidualMLP": ResidualMLP, "StepExperts": StepExperts, "CountExperts": CountExperts
}  # fmt: skip
PREDICTIONS = {
    kind.__name__: kind for kind in (denoisers.FromEpsilon, denoisers.FromV, denoisers.FromFlow)
}
DENOISER = ("network", "config", "prediction", "alpha", "sigma")
AUTOENCODER = ("network", "config")
# What a description that makes no sense may end in.
UNKNOWN = KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError, MemoryError


def save_denoiser(path: str | Path, denoiser, dtype=torch.float32, **notes) -> Path:
    """Write network, prediction and schedule to `path`; `notes` (JSON) travel along.

    `dtype` is what the file stores. The file appears whole or not at all. Raises InputError as
    `check_saveable`, and where it cannot be written.
    """
    check_saveable(denoiser)
    schedule = denoiser.schedule
    about = {
        "prediction": type(denoiser).__name__,
        "alpha": schedule.alpha.tolist(),
        "sigma": schedule.sigma.tolist(),
    }
    return _save(path, denoiser, denoiser.network, dtype, about | {"notes": notes})


def check_saveable(denoiser) -> None:
    """Raise InputError for a denoiser that a file could not bring back, e.g. a `Corrected`."""
    one_of("prediction", type(denoiser).__name__, tuple(PREDICTIONS))
    one_of("network", type(denoiser.network).__name__, tuple(NETWORKS))


def save_vae(path: str | Path, vae: VAE, dtype=torch.float32, **notes) -> Path:
    """Write a VAE, as `save_denoiser` does a denoiser."""
    return _save(path, vae, vae, dtype, {"notes": notes})


def _save(path: str | Path, module, network, dtype, about: dict) -> Path:
    about = {"network": type(network).__name__, "config": network.config, **about}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().to("cpu", dtype).contiguous() for k, v in module.state_dict().items()}
    return write_whole(path, save(state, metadata={"tdmlib": json.dumps(about)}))


def read_description(
    path: str | Path, what: str = "denoiser", fields: tuple[str, ...] = DENOISER
) -> dict:
    """What a weights file says of itself. Raises InputError when it is not one of ours."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise InputError(f"no weights file {str(path)!r}") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{str(path)!r} is not a safetensors file: {error}") from None
    if "tdmlib" not in metadata:
        raise InputError(f"{str(path)!r} does not describe a {what} of tdmlib")
    try:
        about = json.loads(metadata["tdmlib"])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} describes its {what} in broken JSON: {error}") from None
    if missing := [f for f in fields if not isinstance(about, dict) or f not in about]:
        raise InputError(f"{str(path)!r} describes a {what} without {', '.join(missing)}")
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
    except UNKNOWN as error:
        raise InputError(f"{str(path)!r} describes a denoiser unknown here: {error}") from None
    if network.T != schedule.T:
        raise InputError(
            f"{str(path)!r}: the network counts T = {network.T} levels, its schedule {schedule.T}"
        )
    return _with_weights(denoiser, path)


def load_vae(path: str | Path) -> VAE:
    """The VAE of a weights file, in evaluation mode and float32; raises as `load_denoiser`."""
    about = read_description(path, "VAE", AUTOENCODER)
    if about["network"] != "VAE":
        raise InputError(f"{str(path)!r} holds a {about['network']!s:.40}, not a VAE")
    try:
        vae = VAE(**about["config"])
    except UNKNOWN as error:
        raise InputError(f"{str(path)!r} describes a VAE unknown here: {error}") from None
    return _with_weights(vae, path)


def _with_weights(module: torch.nn.Module, path: str | Path):
    with safe_open(path, "pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for key, tensor in state.items():
        if tensor.is_complex():
            raise InputError(f"{str(path)!r} holds complex weights in {key}")
        state[key] = tensor.float()
    check_state(module, state, path)
    for key, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise InputError(f"{str(path)!r} holds NaN or infinite weights in {key}")
    module.load_state_dict(state)
    return module.eval()


def check_state(module: torch.nn.Module, state: dict, source) -> None:
    """Raise InputError naming the first tensor of `state` that does not fit `module`."""
    own = module.state_dict()
    for key in [*own, *state]:
        theirs, ours = (_shape(s[key]) if key in s else "missing" for s in (state, own))
        if theirs != ours:
            raise InputError(
                f"{str(source)!r} is of another architecture: {key} is {theirs} there, {ours} here"
            )


def _shape(value) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else "no tensor"
