"""One TDM update of the library against the public script's loop, `script_loop.py`.

    python benchmarks/tdm_update.py [--device cuda] [--precision bf16-mixed] [--pairs 20] [--quick]

Same network, batch, K and precision, one update of each in turn, the library's within its trainer.
Prints medians, the ratio and its spread, peak memory, network calls counted by hooks beside the
derived ones, how far the gradients differ where the choices are the same, and what bounds the
update; writes data/results/tdm_update.json (tdm_update_cuda.json). Exits with 1 if a bar is missed.
"""

import argparse
import gc
import logging
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from script_loop import Draws, ScriptLoop
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from tdmlib.denoisers import FromV
from tdmlib.distill.lit import ScoreDistillation
from tdmlib.distill.tdm import TDM
from tdmlib.models import ResidualMLP, load_denoiser, save_denoiser
from tdmlib.records import write_record
from tdmlib.schedules import linear_beta

K, CFG, BATCH, SHAPE, CLASSES, EMA = 4, 4.5, 256, (1, 8, 8), 10, 0.99
SIZES = {"digits": dict(width=384, blocks=3), "wide": dict(width=1024, blocks=6)}
BARS = {"time": 0.75, "memory": 1.0, "gradients": 1e-4}
SCHEDULE = linear_beta(1000, set_alpha_to_one=False)  # the script's, levels 0 … 999


def write_teacher(path: Path, **size: int) -> Path:
    """A network of this size with random weights: what it has learnt costs no time."""
    torch.manual_seed(0)
    network = ResidualMLP(SHAPE, T=SCHEDULE.T, classes=CLASSES, **size)
    for parameter in network.parameters():
        if not parameter.any():  # layers that start at zero would hide all that lies before them
            nn.init.normal_(parameter, std=0.02)
    return save_denoiser(path, FromV(network, SCHEDULE))


def library(teacher: Path, updates: int, ema: float = 0.0) -> ScoreDistillation:
    """The library's training with the script's choices: no average of the student either."""
    adamw = dict(betas=(0.0, 0.95), fused=True)
    return ScoreDistillation(
        str(teacher), partial(TDM.script, steps=K),
        partial(torch.optim.AdamW, lr=4e-6, **adamw), partial(torch.optim.AdamW, lr=2e-5, **adamw),
        batch_size=BATCH, updates_per_epoch=updates, guidance=CFG, ema=ema,
    )  # fmt: skip


def train(module: ScoreDistillation, device: str, precision: str, callback: Callback) -> None:
    Trainer(
        max_epochs=1, accelerator="gpu" if device == "cuda" else "cpu", devices=1, logger=False,
        precision=precision, callbacks=[callback], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    ).fit(module)  # fmt: skip


class Script:
    """The script's loop with what the trainer gives to the library: labels and precision."""

    def __init__(self, teacher: Path, device: str, precision: str, fused: bool = False):
        network = load_denoiser(teacher).to(device)
        self.loop, self.device = ScriptLoop(network, SCHEDULE, fused=fused), device
        self.half = precision == "bf16-mixed"

    def update(self) -> None:
        half = nullcontext()
        if self.half:  # no cache: weights change within an update
            half = torch.autocast(self.device, torch.bfloat16, cache_enabled=False)
        cond = torch.randint(CLASSES, (BATCH,), device=self.device)
        with half:
            self.loop.update(self.loop.draw(BATCH, SHAPE), cond)


def now(device: str) -> np.ndarray:
    """Seconds on the wall, and of processor time, which a busy machine disturbs less."""
    if device == "cuda":
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


class Race(Callback):
    """After each update of the library one of the script; seconds of each.

    The library's time is all that passes between two updates of the script, the trainer's share
    included.
    """

    def __init__(self, script: Script):
        self.script, self.seconds = script, []

    def on_train_start(self, trainer, module):
        self.begin = now(self.script.device)

    def on_train_batch_end(self, trainer, module, *_):
        middle = now(self.script.device)
        self.script.update()
        end = now(self.script.device)
        self.seconds.append((middle - self.begin, end - middle))
        self.begin = now(self.script.device)


def summary(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    low, median, high = (round(float(value), 5) for value in (low, median, high))
    return {"median": median, "quartiles": [low, high]}


def race(
    teacher: Path, pairs: int, device: str, precision: str, ema: float = 0.0, fused: bool = False
) -> dict:
    """Seconds an update of each, and their ratio pair by pair."""
    watch, warm = Race(Script(teacher, device, precision, fused)), 3
    train(library(teacher, pairs + warm, ema), device, precision, watch)
    ours, theirs = np.moveaxis(watch.seconds[warm:], 1, 0)  # (pairs, wall and processor)
    (wall, processor), count = (ours / theirs).T, np.arange(pairs)
    draws = np.random.default_rng(0).choice(count, (2000, pairs))
    return {
        "library": summary(ours[:, 0]), "script": summary(theirs[:, 0]), "ratio": summary(wall),
        "ratio_interval": np.quantile(np.median(wall[draws], 1), (0.025, 0.975)).round(4).tolist(),
        "ratio_of_processor_time": summary(processor),
    }  # fmt: skip


def peak_memory(work: Callable[[], object], device: str = "cpu") -> int:
    """Most bytes of tensors held at a time while `work` runs, of those that it makes itself."""
    gc.collect()  # a trainer left over would be collected while `work` runs, and count as negative
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - held
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    events = (e for e in found.profiler.kineto_results.events() if e.name() == "[memory]")
    return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))


def memory(teacher: Path, device: str, precision: str) -> dict[str, int]:
    """Peak bytes from the making of the networks to the end of the third update."""

    def script() -> None:
        run = Script(teacher, device, precision)
        for _ in range(3):
            run.update()

    def run(ema: float) -> None:
        train(library(teacher, 3, ema), device, precision, Callback())

    weights = sum(p.numel() * p.element_size() for p in load_denoiser(teacher).parameters())
    return {
        "weights": weights,
        "script": peak_memory(script, device),
        "library": peak_memory(partial(run, 0.0), device),
        "library_with_average": peak_memory(partial(run, EMA), device),
    }


class Calls:
    """Rows that pass through networks, forward and backward, in batches; seen by hooks."""

    def __init__(self, **networks: nn.Module):
        self.calls, self.forward, self.backward = Counter(), Counter(), Counter()
        for name, network in networks.items():
            network.register_forward_hook(partial(self._saw, name))

    def _saw(self, name: str, network: nn.Module, inputs: tuple, output: Tensor) -> None:
        self.calls[name] += 1
        self.forward[name] += len(output) / BATCH
        if output.requires_grad:
            output.register_hook(partial(self._went_back, name))

    def _went_back(self, name: str, slope: Tensor) -> None:
        self.backward[name] += len(slope) / BATCH

    @property
    def counts(self) -> dict:
        passes = self.forward.total() + 2 * self.backward.total()
        return {"calls": dict(self.calls), "forward": dict(self.forward),
                "backward": dict(self.backward), "forward_equivalents": passes}  # fmt: skip


def derived() -> dict[str, dict]:
    """An update's passes in batches: step k needs the K − 1 − k before it, (K − 1)/2 on average.

    A backward pass counts as two forward. With guidance the teacher is asked twice.
    """
    backward = {"student": 1, "fake": 1}
    found = {
        "library": {
            "calls": {"student": K, "teacher": 2, "fake": 2},
            "forward": {"student": (K - 1) / 2 + 1, "teacher": 2, "fake": 2},
            "backward": backward,
        },
        "script": {
            "calls": {"student": K + 2, "teacher": 3, "fake": 2},
            "forward": {"student": K + 2, "teacher": 3, "fake": 2},
            "backward": backward,
        },
    }
    for counts in found.values():
        passes = sum(counts["forward"].values()) + 2 * sum(backward.values())
        counts["forward_equivalents"] = passes
    return found


def counted(teacher: Path, device: str = "cpu", precision: str = "32-true") -> dict[str, dict]:
    """The same, seen by hooks in one update of each; and floating point operations in forwards."""
    module, script = library(teacher, 1), Script(teacher, device, precision)
    ours = Calls(student=module.student.network, fake=module.fake.network,
                 teacher=module.teacher.denoiser.denoiser.network)  # fmt: skip
    loop, found = script.loop, {}
    theirs = Calls(student=loop.student.network, fake=loop.fake.network,
                   teacher=loop.teacher.network)  # fmt: skip
    z, t = torch.randn(BATCH, *SHAPE, device=device), torch.ones(BATCH, device=device).long()
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        load_denoiser(teacher).to(device)(z, t, t)
    for name, calls, work in (
        ("library", ours, partial(train, module, device, precision, Callback())),
        ("script", theirs, script.update),
    ):
        with FlopCounterMode(display=False) as flops:
            work()
        share = flops.get_total_flops() / forward.get_total_flops()
        found[name] = calls.counts | {"operations_in_forwards": round(share, 3)}
    found["operations_of_a_forward"] = forward.get_total_flops()
    return found


def gradients(module: ScoreDistillation, loop: ScriptLoop, batch: int, seed: int = 0) -> dict:
    """Norm of the difference of the gradients over that of the script's, for each network.

    The loop has to read the rollout's levels as they are, drift = 0; networks, steps, noise and τ
    are the same. Both fake scores are moved away from the teacher first, or the student would have
    next to nothing to follow.
    """
    method, device = module.method, loop.alpha.device
    generator = torch.Generator(device).manual_seed(seed)
    for ours, theirs in zip(module.fake.parameters(), loop.fake.parameters(), strict=True):
        noise = torch.randn(ours.shape, generator=generator, device=device, dtype=ours.dtype)
        for parameter in (ours, theirs):
            parameter.data += 0.01 * noise
    cond = torch.randint(CLASSES, (batch,), generator=generator, device=device)
    start = method.start(batch, module.shape, generator)
    renoise = [method.renoise(batch, module.shape, generator) for _ in range(2)]
    rollout = method.rollout(module.student, start, cond)
    objectives = {
        "fake": method.fake_objective(module.fake, rollout, renoise[0], cond),
        "student": method.student_objective(module.teacher, module.fake, rollout, renoise[1], cond),
    }
    draws = Draws(
        start.noise, K - 1 - start.step, tuple(method.tau(rollout, r.u) for r in renoise),
        tuple(r.noise for r in renoise),
    )  # fmt: skip
    seen, found = loop.rollout(start.noise, cond), {}
    for name, (objective, _) in objectives.items():
        theirs = getattr(loop, f"{name}_loss")(seen, draws, cond)
        slopes = [
            torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()))])
            for loss, network in (
                (objective.mean(), getattr(module, name)), (theirs, getattr(loop, name))
            )
        ]  # fmt: skip
        found[name] = float((slopes[0] - slopes[1]).norm() / slopes[1].norm())
    return found


def same_gradients(teacher: Path, device: str) -> dict:
    loop = ScriptLoop(load_denoiser(teacher).to(device), SCHEDULE, drift=0)
    return gradients(library(teacher, 1).to(device), loop, BATCH)


def product_rate(width: int, device: str) -> float:
    """Operations a second of the product that an update is made of, (B × width)(width × width)."""
    x, w = torch.randn(BATCH, width, device=device), torch.randn(width, width, device=device)
    seconds = []
    for _ in range(30):
        begin = now(device)[0]
        for _ in range(8):
            x @ w
        seconds.append((now(device)[0] - begin) / 8)
    return 2 * BATCH * width**2 / float(np.median(seconds))


class Profiled(Callback):
    """Profiles the updates after the third."""

    def __init__(self, device: str):
        cuda = [ProfilerActivity.CUDA] if device == "cuda" else []
        self.profile, self.device = profile(activities=[ProfilerActivity.CPU, *cuda]), device

    def on_train_batch_start(self, trainer, module, batch, index):
        if index == 3:
            self.begin = now(self.device)[0]
            self.profile.start()

    def on_train_end(self, trainer, module):
        self.seconds = now(self.device)[0] - self.begin
        self.profile.stop()


def part(key: str) -> str | None:
    """What an operation belongs to; None for a range that spans operations."""
    name = key.removeprefix("aten::")
    if name in ("addmm", "mm", "bmm"):
        return "products"
    if name.startswith(("_fused_adam", "_foreach")):
        return "optimizers"
    return "elementwise" if key.startswith("aten::") else None


def shares(teacher: Path, device: str, precision: str, updates: int = 5) -> dict[str, float]:
    """What an update's time goes to: products of matrices, optimizers, the rest of the operations
    on tensors, and Python with all that is no operation."""
    watch, found = Profiled(device), Counter()
    train(library(teacher, updates + 3), device, precision, watch)
    for event in watch.profile.key_averages():
        spent = event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        found[part(event.key)] += spent / 1e6 / watch.seconds
    del found[None]
    found["python"] = 1 - found.total()
    return {name: round(share, 3) for name, share in found.items()}


def measure(teacher: Path, width: int, threads: int, pairs: int, device: str, precision: str):
    torch.set_num_threads(threads)
    found = {"time": race(teacher, pairs, device, precision)}
    found["time_with_average"] = race(teacher, pairs, device, precision, EMA)
    found["time_both_fused"] = race(teacher, pairs, device, precision, fused=True)
    found["shares"] = shares(teacher, device, precision)
    found["product_rate"] = product_rate(width, device)
    return found


def report(name: str, found: dict) -> bool:
    """Print what was found for a size; true if its bars are met."""
    expected, met = derived(), []

    def bar(text: str, value: float, most: float) -> None:
        met.append(value <= most)
        print(f"  {text}, at most {most:g}{'' if met[-1] else '  MISSED'}")

    print(f"{name}: {found['memory']['weights'] / 1e6:.1f} MB of weights, batch {BATCH}")
    for who, counts in expected.items():
        seen = found["counted"][who]
        met.append(all(seen[key] == counts[key] for key in counts))
        print(f"  {who}: {sum(seen['calls'].values())} network calls, "
              f"{seen['forward_equivalents']:g} forward-equivalents"
              f"{', as derived' if met[-1] else f'; DERIVED {counts}'}; "
              f"operations of {seen['operations_in_forwards']:.2f} forwards")  # fmt: skip
    for network, gap in found["gradients"].items():
        bar(f"gradient of the {network}, off by {gap:.1e}", gap, BARS["gradients"])
    held = found["memory"]
    for who in ("library", "library_with_average"):
        text = f"{who}: {held[who] / 1e6:.1f} MB at most, {held[who] / held['script']:.3f}"
        if who == "library":
            bar(f"{text} of the script's", held[who] / held["script"], BARS["memory"])
        else:
            print(f"  {text}: one more copy of the weights, of which the script has none")
    for setting, measured in found.items():
        if setting.startswith("threads"):
            seconds, spent = measured["time"], measured["shares"]
            ratio, (low, high) = seconds["ratio"]["median"], seconds["ratio"]["quartiles"]
            ours = seconds["library"]["median"]
            bar(f"{setting}: {1e3 * ours:.1f} ms against "
                f"{1e3 * seconds['script']['median']:.1f}, ratio {ratio:.3f} "
                f"(quartiles {low:.3f}, {high:.3f}; in processor time "
                f"{seconds['ratio_of_processor_time']['median']:.3f})",
                ratio, BARS["time"])  # fmt: skip
            average, fused = (
                measured[f"time_{k}"]["ratio"]["median"] for k in ("with_average", "both_fused")
            )
            print(f"    with the average: {average:.3f}; with the fused AdamW in both: {fused:.3f}")
            counted = found["counted"]
            operations = (counted["library"]["operations_in_forwards"]
                          * counted["operations_of_a_forward"])  # fmt: skip
            rate = operations / (spent["products"] * ours)
            print("    " + ", ".join(f"{who} {share:.1%}" for who, share in spent.items())
                  + f"; products at {rate / 1e9:.0f} GFLOP/s, "
                  f"{rate / measured['product_rate']:.0%} of a bare one's")  # fmt: skip
    return all(met)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--pairs", type=int, default=20, help="updates of each")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--quick", action="store_true", help="a few pairs; writes nothing")
    args = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    setting, numbers, met = (args.device, args.precision), {"derived": derived()}, True
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            teacher = write_teacher(Path(folder) / f"{name}.safetensors", **size)
            found = {
                "counted": counted(teacher, *setting), "memory": memory(teacher, *setting),
                "gradients": same_gradients(teacher, args.device),
            }  # fmt: skip
            for threads in args.threads if args.device == "cpu" else [1]:
                pairs = 5 if args.quick else args.pairs
                found[f"threads_{threads}"] = measure(
                    teacher, size["width"], threads, pairs, *setting
                )
            numbers[name] = found
            met &= report(name, found)
    if not args.quick:
        config = dict(K=K, guidance=CFG, batch=BATCH, shape=SHAPE, sizes=SIZES, pairs=args.pairs,
                      precision=args.precision, bars=BARS)  # fmt: skip
        name = "tdm_update" if args.device == "cpu" else "tdm_update_cuda"
        print(write_record(name, numbers, config=config, seeds=[0], device=args.device))
    sys.exit(not met)


if __name__ == "__main__":
    main()
