"""Score distillation at work: parts, processes, precision, what stops it, what it takes."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.multiprocessing import ProcessRaisedException

from tdmlib.denoisers import Condition, Corrected, FromV
from tdmlib.distill.lit import ScoreDistillation
from tdmlib.distill.tdm import TDM
from tdmlib.errors import InputError
from tdmlib.models import ResidualMLP, StepExperts, load_denoiser, save_denoiser
from tdmlib.sampling import sample
from tdmlib.schedules import cosine


@pytest.fixture
def teacher(tmp_path):
    torch.manual_seed(0)
    network = ResidualMLP((1, 4, 4), T=40, classes=10, width=16, blocks=1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return save_denoiser(tmp_path / "teacher.safetensors", FromV(network, cosine(40)))


def sgd(parameters):  # Adam would blow rounding errors up where a gradient is almost zero
    return torch.optim.SGD(parameters, lr=0.1)


def module(teacher, method=TDM, *, choices=None, optimizer=sgd, **settings):
    settings = dict(batch_size=16, updates_per_epoch=3, warmup=1, ema=0.5) | settings
    return ScoreDistillation(
        str(teacher), lambda schedule: method(schedule, **choices or {}), optimizer, optimizer,
        **settings,
    )  # fmt: skip


def train(lit, data=None, **settings):
    quiet = dict(logger=False, enable_checkpointing=False, max_epochs=1)
    trainer = Trainer(
        accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
        **quiet | settings,
    )  # fmt: skip
    trainer.fit(lit, data)
    return lit


def distance(one, other):
    """The largest difference of two modules' states, and how far the first has come."""
    states = one.state_dict(), other.state_dict()
    gaps = [(states[0][k] - states[1][k]).abs().max() for k in states[0]]
    return float(torch.stack([g.float() for g in gaps]).max())


UNIFY = {"counts": (1, 2, 4), "guidance": (1, 3), "landing": "random"}


@pytest.mark.parametrize("choices", [None, UNIFY])
@pytest.mark.parametrize("parts", [2, 8])
def test_parts_of_a_batch_are_the_whole(teacher, choices, parts):
    # guided, or the teacher and its copy would differ by little but rounding
    settings = dict(choices=choices, fake_updates=2, guidance=1 if choices else 2)
    whole, start = train(module(teacher, **settings)), module(teacher, **settings)
    pieces = train(module(teacher, accumulate=parts, **settings))
    assert distance(whole, pieces) < 1e-6 < 1e-3 < distance(whole, start)
    assert whole.calls == pieces.calls == 2


class Kept:
    """A tensor that autograd holds; the class counts the numbers held now and at most."""

    now = most = 0

    def __init__(self, tensor):
        self.tensor = tensor
        Kept.now += tensor.numel()
        Kept.most = max(Kept.most, Kept.now)

    def __del__(self):
        Kept.now -= self.tensor.numel()


@dataclass(frozen=True)
class Weighed(TDM):
    """Notes how much is held when either loss is made: by autograd, and in gradients."""

    held: list = field(default_factory=list)

    def student_objective(self, teacher, fake, *args):
        self.held.append((0, sum(p.grad is not None for p in fake.parameters())))
        return super().student_objective(teacher, fake, *args)

    def fake_objective(self, fake, *args):
        self.held.append((Kept.now, sum(p.grad is not None for p in fake.parameters())))
        return super().fake_objective(fake, *args)


def test_one_graph_is_held_at_a_time_and_one_network_s_gradients(teacher):
    most = {}
    for parts in (1, 4):
        Kept.now = Kept.most = 0
        lit = module(teacher, Weighed, accumulate=parts, batch_size=512)
        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            train(lit)
        most[parts] = Kept.most
        kept, gradients = zip(*lit.method.held[:: 1 if parts == 1 else 2 * parts], strict=True)
        assert max(kept) < 0.05 * Kept.most and not any(gradients)
    assert all(p.grad is None for p in [*lit.student.parameters(), *lit.fake.parameters()])
    assert most[4] < 0.4 * most[1]


def test_without_an_average_the_student_itself_is_saved(tmp_path, teacher, capsys):
    logger = CSVLogger(tmp_path, name="", version="")
    averaged, plain = train(module(teacher)), train(module(teacher, ema=0), logger=logger)
    assert distance(plain.student, averaged.student) == 0
    assert distance(averaged.average.module, averaged.student) > 1e-4
    assert distance(load_denoiser(tmp_path / "student.safetensors"), plain.student) == 0
    assert "wrote the student to" in capsys.readouterr().out
    kept = {name.split(".")[0] for name in plain.state_dict()}
    assert kept == {"update", "student", "fake", "teacher"}


def test_processes_that_wait_for_gradients_of_both_networks_are_refused(teacher):
    says = r"InputError: each loss moves .* trainer.strategy to ddp_find_unused_parameters_true"
    with pytest.raises(ProcessRaisedException, match=says):
        train(module(teacher), devices=2, strategy="ddp_fork")


@pytest.mark.parametrize(("accumulate", "by_count"), [(1, False), (2, False), (1, True)])
def test_two_processes_are_one(tmp_path, teacher, accumulate, by_count):
    settings = dict(choices=UNIFY, fake_updates=2, accumulate=accumulate, fake_by_count=by_count)
    one, start = train(module(teacher, **settings)), module(teacher, **settings)
    strategy = "ddp_fork_find_unused_parameters_true"
    logger = CSVLogger(tmp_path, name="", version="")
    two = train(module(teacher, **settings), devices=2, strategy=strategy, logger=logger)
    saved = load_denoiser(tmp_path / "student.safetensors")
    assert int(two.update) == 3 and distance(saved, two.average.module) == 0
    assert distance(one, two) < 1e-6 < 1e-3 < distance(one, start)


def test_a_fake_score_for_each_count_learns_from_its_samples_alone(teacher):
    lit = module(teacher, choices={"counts": (1, 2)}, fake_by_count=True)
    start = lit.method.start(16, lit.shape, torch.Generator().manual_seed(0))
    start = replace(start, count=torch.full((16,), 2), step=torch.arange(16) % 2)
    rollout = lit.method.rollout(lit.student, start, torch.zeros(16).long())
    renoise = lit.method.renoise(16, lit.shape, torch.Generator().manual_seed(1))
    loss, _ = lit.method.fake_objective(lit.fake, rollout, renoise, torch.zeros(16).long())
    loss.mean().backward()
    moved = [any(p.grad is not None for p in e.parameters()) for e in lit.fake.network.experts]
    assert moved == [False, True]
    assert not hasattr(lit.student.network, "experts")  # the student is one network
    with pytest.raises(InputError, match="the fake score is told no K"):
        module(teacher, fake_by_count=True)
    with pytest.raises(InputError, match="the fake score is told no K"):
        module(teacher, choices={"counts": (1, 2), "steps_aware": "student"}, fake_by_count=True)
    with pytest.raises(InputError, match="fake_by_count = 'no': must be true or false"):
        module(teacher, choices={"counts": (1, 2)}, fake_by_count="no")


def test_a_batch_that_does_not_split_is_refused(teacher):
    with pytest.raises(InputError, match="batch_size = 16 does not split into 3"):
        train(module(teacher, accumulate=3))


def test_a_method_that_wants_the_whole_batch_gets_it_or_is_refused(teacher):
    choices = {"fake_target": "stable"}
    assert distance(train(module(teacher, choices=choices)), module(teacher)) > 1e-3
    with pytest.raises(InputError, match="needs the whole batch at once, and gets 2 parts"):
        train(module(teacher, choices=choices, accumulate=2))


def test_the_target_averaged_over_the_batch_is_made_in_full_precision(teacher):
    runs = [train(module(teacher, choices={"fake_target": "stable"}, batch_size=64), precision=p)
            for p in ("32-true", "bf16-mixed")]  # fmt: skip
    assert distance(*runs) < 0.1 * distance(runs[0], module(teacher))


def test_mixed_precision_goes_the_same_way(teacher):
    seen = set()
    runs = []
    for precision in ("32-true", "bf16-mixed"):
        lit = module(teacher, choices=UNIFY, batch_size=64)
        lit.student.network.first.register_forward_hook(lambda *args: seen.add(args[2].dtype))
        before = torch.nn.utils.parameters_to_vector(lit.student.parameters()).detach().clone()
        train(lit, precision=precision)
        after = torch.nn.utils.parameters_to_vector(lit.student.parameters()).detach()
        assert after.dtype == torch.float32
        runs.append(after - before)
    assert seen == {torch.float32, torch.bfloat16}
    assert torch.cosine_similarity(*runs, dim=0) > 0.97


def test_half_precision_that_needs_scaled_gradients_is_refused(teacher):
    lit = module(teacher)  # on a CPU lightning takes bf16 where 16 is asked for
    lit._trainer = SimpleNamespace(
        world_size=1, max_steps=-1, train_dataloader=range(3), precision="16-mixed"
    )
    with pytest.raises(InputError, match="take bf16-mixed"):
        lit.on_train_start()


@dataclass(frozen=True)
class Breaking(TDM):
    """Breaks in the fourth update: its loss, or its gradient alone."""

    what: str = "loss"

    def student_objective(self, teacher, fake, rollout, renoise, cond=None):
        loss, logs = super().student_objective(teacher, fake, rollout, renoise, cond)
        CALLS.append(1)
        if len(CALLS) > 3:
            x = rollout.x_hat.sum()
            loss = loss * float("nan") if self.what == "loss" else loss + (0 * x).abs().sqrt()
        return loss, logs


CALLS = []


@pytest.mark.parametrize(
    ("what", "says"), [("loss", "the student's loss is nan"), ("gradient", "the gradient's norm")]
)
def test_what_is_no_number_stops_before_the_weights(tmp_path, teacher, what, says):
    CALLS.clear()
    lit = module(teacher, Breaking, choices={"what": what}, updates_per_epoch=3)
    keep = ModelCheckpoint(tmp_path / "run", filename="last", enable_version_counter=False)
    with pytest.raises(InputError, match=f"{says}.* at update 3; .* checkpoint is intact"):
        train(lit, max_epochs=2, enable_checkpointing=True, callbacks=[keep])
    kept = torch.load(tmp_path / "run/last.ckpt", weights_only=True)["state_dict"]
    assert int(kept["update"]) == 3
    for key, value in lit.state_dict().items():
        assert torch.isfinite(value).all()
        if key.startswith(("student.", "average.")):  # untouched since
            assert torch.equal(value, kept[key])


def test_no_data_enter_and_the_teacher_is_counted(tmp_path, teacher, capsys):
    with pytest.raises(InputError, match="takes no data"):
        train(module(teacher), data=torch.utils.data.DataLoader([torch.zeros(1)] * 3))
    for guidance, calls in ((1.0, 1), (2.5, 2)):
        lit = module(teacher, guidance=guidance, fake_updates=2, accumulate=2)
        train(lit, logger=CSVLogger(tmp_path), log_every_n_steps=1)
        lines = (tmp_path / f"lightning_logs/version_{calls - 1}/metrics.csv").read_text()
        column = lines.splitlines()[0].split(",").index("teacher_calls")
        assert [float(line.split(",")[column]) for line in lines.splitlines()[1:]] == [calls] * 3
        assert f"data read: none; teacher evaluations: {calls} a sample" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"guidance = 2.5: the method draws its own"):
        module(teacher, choices=UNIFY, guidance=2.5)


def lbfgs(parameters):
    return torch.optim.LBFGS(parameters)


@pytest.mark.parametrize(
    ("settings", "trainer", "says"),
    [({"start": "shorter"}, {}, "teacher and start have different schedules"),
     ({}, {"max_steps": 6, "max_epochs": None}, "max_steps counts steps of both networks"),
     ({"updates_per_epoch": 10**30}, {}, "updates_per_epoch = 10+: .* 1 … 1000000000"),
     ({"batch_size": 10**11}, {}, "batch_size = 10+: .* within 1 … 1000000000"),
     ({}, {"max_epochs": -1}, "max_epochs = -1: the learning rate falls to an end"),
     ({"optimizer": lbfgs}, {}, "student_optimizer refuses its settings: .*closure"),
     ({"clip": 0}, {}, "clip = 0: must be positive"),
     ({"clip": float("nan")}, {}, "clip = nan"),
     ({"guidance": float("nan")}, {}, "guidance = nan: must be a finite number"),
     ({"guidance": float("inf")}, {}, "guidance = inf")],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_before_the_first_update(
    teacher, monkeypatch, settings, trainer, says
):
    monkeypatch.setattr(ScoreDistillation, "training_step", lambda *_: pytest.fail("an update"))
    if "start" in settings:
        network = load_denoiser(teacher).network
        settings = {"start": FromV(network, cosine(80).sub(range(41)))}
    with pytest.raises(InputError, match=says) as caught:
        train(module(teacher, **settings), **trainer)
    assert "\n" not in str(caught.value)


def distilled(teacher, start=None, **choices):
    """A distillation of a denoiser, not of a file."""
    return ScoreDistillation(
        teacher, lambda schedule: TDM(schedule, **choices), sgd, sgd, start=start, batch_size=16,
        updates_per_epoch=3,
    )  # fmt: skip


def test_experts_want_a_method_of_their_grids_that_tells_them_k(teacher):
    plain, counts = load_denoiser(teacher), (1, 2, 5)

    def student(*grids):
        return FromV(StepExperts(plain.network, grids), plain.schedule)

    experts = student(*TDM(plain.schedule, counts=counts).grids)
    distilled(experts, counts=counts)
    for choices, says in (
        ({"counts": counts, "spacing": 1.5}, "the experts have grids"),
        ({"steps": 5}, "the method"),
        ({"counts": counts, "steps_aware": "neither"}, "the student is not told K"),
        ({"counts": counts, "steps_aware": "student"}, "the fake is not told K"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=says):
            distilled(experts, **choices)
    distilled(student(TDM(plain.schedule, steps=5).grid), steps=5)


@pytest.mark.parametrize(
    ("other", "says"),
    [({"classes": 5}, "classes of the teacher is 10, of start 5"),
     ({"shape": (1, 8, 2)}, r"shape of the teacher is \(1, 4, 4\), of start \(1, 8, 2\)")],
)  # fmt: skip
def test_teacher_and_start_take_the_same_samples_and_labels(teacher, other, says):
    denoiser = load_denoiser(teacher)
    network = ResidualMLP(**denoiser.network.config | other)
    with pytest.raises(InputError, match=says):
        distilled(denoiser, FromV(network, denoiser.schedule))


def test_a_base_that_is_corrected_stays_as_it_is_and_is_told_the_label_alone(teacher):
    base = load_denoiser(teacher).requires_grad_(False)
    start = Corrected(ResidualMLP(**base.network.config), base)
    lit = train(distilled(base, start, counts=(1, 2)))
    assert distance(lit.student.base, base) == 0
    assert distance(lit.student.network, start.network.aware(counts=(1, 2))) > 1e-6
    assert not any(p.requires_grad for p in lit.student.base.parameters())


def test_a_student_that_no_file_brings_back_is_refused_before_its_training(tmp_path, teacher):
    base = load_denoiser(teacher).requires_grad_(False)
    lit = distilled(base, Corrected(ResidualMLP(**base.network.config), base))
    with pytest.raises(InputError, match="prediction 'Corrected' is unknown"):
        train(lit, logger=CSVLogger(tmp_path))
    assert int(lit.update) == 0


def test_no_network_drops_anything_while_a_student_is_trained():
    """Lightning puts modules into training mode; dropout would make the teacher another one."""
    torch.manual_seed(0)
    network = ResidualMLP((1, 4, 4), T=40, classes=10, width=16, blocks=1, dropout=0.5)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    teacher, seen = FromV(network, cosine(40)).train(), []
    lit = ScoreDistillation(teacher, TDM, sgd, sgd, batch_size=16, updates_per_epoch=3, guidance=2)
    teacher.register_forward_hook(lambda _, args, out: seen.append((*args, out)))
    train(lit, max_epochs=2)
    assert not any(m.training for part in (lit.teacher, lit.student, lit.fake)
                   for m in part.modules())  # fmt: skip
    assert len(seen) == 12
    for z, t, cond, out in seen[:12]:
        assert torch.allclose(teacher(z, t, cond), out, atol=1e-5)
    assert not torch.allclose(teacher.train()(z, t, cond), out, atol=1e-5)  # as it could have been


def test_one_student_of_several_step_counts_is_saved_with_them(tmp_path, teacher):
    lit = train(module(teacher, choices=UNIFY, warmup=1), logger=CSVLogger(tmp_path))
    student = load_denoiser(f"{lit.trainer.log_dir}/student.safetensors")
    assert student.network.counts == [1, 2, 4] and student.network.guidance == [1, 3]
    assert (
        lit.fake.network.counts == [1, 2, 4]
        and lit.teacher.denoiser.denoiser.network.counts is None
    )
    noise, label = torch.randn(6, 1, 4, 4), torch.arange(6)
    made = []
    for K in (1, 2, 4):
        with torch.no_grad():
            x = sample(student, noise, K, student.schedule, Condition(label, K, 2.0))
        ours = lit.method.sample(lit.average.module, noise, label, K, 2.0)
        assert torch.allclose(x, ours, atol=1e-6)
        made.append(x)
    assert not torch.allclose(made[0], made[1]) and not torch.allclose(made[1], made[2])
    blind = module(teacher, choices=UNIFY | {"steps_aware": "student"})
    assert blind.student.network.counts and blind.fake.network.counts is None
    knowing = module(teacher, choices={"interval": "full", "fake_sees_origin": True})
    assert knowing.fake.network.origin and not knowing.student.network.origin
    train(knowing)
    assert knowing.fake.network.embed_origin.weight.any()
