"""The latents record: pixel and latent spectra, and what plans lose on them.

Seeds and prices of a nat, on digits and on patches of the photographs; T = 32 cosine steps,
training time s = 1.6 a merge.

    python benchmarks/latents.py [--work runs/latents]

Trains what is missing, about half an hour on one core, so that an interrupted run goes on where it
was; writes data/results/latents.json and, from seed 0 and the configs' price,
data/vae_digits.safetensors and data/vae_patches.safetensors.
"""

import argparse
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
import yaml

from tdmlib.datasets.digits import digits
from tdmlib.datasets.latents import encode, unit_scale
from tdmlib.datasets.patches import patches
from tdmlib.linear import jump_then_boot, phase_boundaries, phase_counts, plan_spectrum, spectrum
from tdmlib.models import kl_divergence, load_vae, ms_ssim, posterior_sample, psnr, save_vae
from tdmlib.records import write_record
from tdmlib.resources import find, folder
from tdmlib.schedules import cosine

SEEDS = (0, 1, 2)
RUNS = (  # (data, price of a nat β, seed)
    *product(["digits"], ["1e-4", "1e-3", "1e-2"], SEEDS),
    *product(["patches"], ["1e-4", "1e-3"], SEEDS),
)
T, S = 32, 1.6
PATCHES = 5000  # of all parts of the photographs, for spectra


def images(name: str) -> dict[str, torch.Tensor]:
    """All images, for spectra, and those held out from training."""
    if name == "patches":
        held = patches(600, 32, color=True, part="validation")
        return {"all": patches(PATCHES, 32, color=True), "held": held}
    train, test = digits()
    return {"all": torch.cat([train.images, test.images]), "held": test.images}


def train(work: Path, name: str, price: str, seed: int) -> Path:
    """The weights of one VAE, trained by the command that users have."""
    run = (work / f"{name}_{price}_seed{seed}").resolve()
    weights = run / f"runs/vae_{name}/vae.safetensors"
    if weights.exists():
        return weights
    run.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "tdmlib", "fit", "--config", f"vae_{name}.yaml",
        f"--model.kl_weight={price}", f"--model.seed={seed}", f"--data.seed={seed}",
        f"--seed_everything={seed}",
    ]  # fmt: skip
    if (run / f"runs/vae_{name}/last.ckpt").exists():
        command += ["--ckpt_path=last"]
    begin = time.perf_counter()
    subprocess.run(command, cwd=run, check=True, stdout=subprocess.DEVNULL)
    print(f"trained {run.name} in {time.perf_counter() - begin:.0f} s", flush=True)
    return weights


@torch.no_grad()
def quality(vae, x: torch.Tensor) -> dict[str, float]:
    """Mean MS-SSIM, PSNR in dB and KL in nats of reconstructions from posterior samples."""
    mean, log_variance = vae.encode(x)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    y = vae.decode(posterior_sample(mean, log_variance, noise))
    kl = kl_divergence(mean, log_variance).flatten(1)
    return {
        "ms_ssim": float(ms_ssim(y, x).mean()), "psnr": float(psnr(y, x).mean()),
        "kl": float(kl.sum(dim=1).mean()), "used": int((kl.mean(dim=0) > 0.1).sum()),
    }  # fmt: skip


def plans(lam: np.ndarray) -> dict:
    """Phases, and losses as shares of the data's standard deviation."""
    schedule = cosine(T)
    found = plan_spectrum(schedule, lam, S)
    spread = np.sqrt(lam.sum())
    jumps = [jump_then_boot(m, T) for m in range(T - 1)]
    return {
        "phases": phase_counts(schedule, lam),
        "strategies": {name: float(error / spread) for name, error in found.strategies.items()},
        "best": float(found.best.error / spread), "gap": float(found.best.gap / spread),
        "each": float(found.separate / spread),
        "jump": jumps.index(found.best.plan) if found.best.plan in jumps else None,
    }  # fmt: skip


def spectra(rows: torch.Tensor) -> dict[str, np.ndarray]:
    lam = spectrum(rows).lam
    return {"as they are": lam, "unit": lam / lam.mean()}


def measure(weights: Path, x: dict[str, torch.Tensor]) -> dict:
    vae = load_vae(weights)
    rows = {"means": encode(vae, x["all"]), "samples": encode(vae, x["all"], seed=0)}
    lam = {kind: spectra(latents) for kind, latents in rows.items()}
    return {
        **quality(vae, x["held"]),
        "scale": {kind: unit_scale(latents) for kind, latents in rows.items()},
        "lam": {kind: np.round(both["as they are"], 6).tolist() for kind, both in lam.items()},
        "plans": {k: {name: plans(v) for name, v in both.items()} for k, both in lam.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/latents"))
    work = parser.parse_args().work
    torch.set_num_threads(1)
    numbers = {"boundaries": phase_boundaries(cosine(T)), "runs": {}, "pixels": {}, "half": {}}
    sets = sorted({name for name, _, _ in RUNS})
    x = {name: images(name) for name in sets}
    for name, price, seed in RUNS:
        weights = train(work, name, price, seed)
        found = measure(weights, x[name])
        numbers["runs"][f"{name}_{price}_seed{seed}"] = found
        said = {k: round(found[k], 4) for k in ("ms_ssim", "psnr", "kl", "used")}
        print(name, price, seed, said, flush=True)
        config = yaml.safe_load(find("configs", f"vae_{name}.yaml").read_text())
        if seed == 0 and config["model"]["init_args"]["kl_weight"] == float(price):
            path = folder("data") / f"vae_{name}.safetensors"
            notes = dict(trained_with=f"configs/vae_{name}.yaml", seed=0)
            save_vae(path, load_vae(weights), torch.float16, **notes)
            full, half = (
                spectrum(encode(load_vae(p), x[name]["all"])).lam for p in (weights, path)
            )
            numbers["half"][name] = float(np.abs(half / full - 1).max())
            print(f"wrote {path}", flush=True)
    for name in sets:
        lam = spectra(x[name]["all"].numpy())
        numbers["pixels"][name] = {
            "lam": [float(f"{value:.6g}") for value in lam["as they are"]],
            "plans": {scale: plans(v) for scale, v in lam.items()},
        }
    config = {"files": [f"configs/vae_{name}.yaml" for name in sets], "T": T,
              "s": S, "patches": PATCHES}  # fmt: skip
    print(f"wrote {write_record('latents', numbers, config=config, seeds=list(SEEDS))}")


if __name__ == "__main__":
    main()
