import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch


def test_sample_writes_what_it_says_and_the_seed_decides(tdm):
    ask = ["sample", "--count", "24", "--labels", "3,7"]
    status, out, _ = tdm(*ask, "--out", "a.npz", "--plot", "a.png")
    assert status == 0
    assert "a.npz" in out and "a.png" in out
    content = np.load("a.npz")
    assert content["images"].shape == (24, 1, 8, 8)
    assert content["labels"].tolist() == [3, 7] * 12
    assert tdm(*ask, "--out", "b.npz")[0] == 0
    assert np.array_equal(content["images"], np.load("b.npz")["images"])
    tdm(*ask, "--out", "c.npz", "--seed", "1")
    assert not np.array_equal(content["images"], np.load("c.npz")["images"])


def test_evaluate_measures_a_model_and_a_file_alike(tdm):
    tdm("sample", "--count", "300", "--out", "s.npz", "--seed", "5")
    status, out, _ = tdm("evaluate", "--count", "300", "--seed", "5", "--out", "m.json")
    assert status == 0
    assert tdm("evaluate", "--samples", "s.npz", "--out", "f.json")[0] == 0
    model, file = (json.loads(Path(name).read_text()) for name in ("m.json", "f.json"))
    assert model["report"] == pytest.approx(file["report"])
    assert f"{model['report']['frechet_test']:.4f}" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sample", "--out", "x.npz", "--steps", "1001"], "K = 1001: must be a whole number"),
        (["sample", "--out", "x.npz", "--steps", "0"], "K = 0"),
        (["sample", "--out", "x.npz", "--labels", "3,10"], "label = 10: must be"),
        (["sample", "--out", "x.npz", "--labels", "three"], "'three'"),
        (["sample", "--out", "x.npz", "--count", "0"], "count = 0"),
        (["sample", "--out", "x.npz", "--model", "none.safetensors"], "shipped are"),
        (["sample", "--out", "x.npz", "--model", "text.safetensors"], "not a safetensors file"),
        (["sample", "--out", "missing/x.npz"], "no folder 'missing'"),
        (["sample", "--out", "x.txt"], "must end in .npz"),
        (["sample", "--out", "folder.npz"], "is a folder"),
        (["sample", "--out", ""], "must end in .npz"),
        (["sample", "--out", "pipe.npz"], "not a regular file"),
        (["sample", "--out", "x.npz", "--plot", "x.jpeg2"], "must end in .png"),
        (["sample", "--out", "x.npz", "--plot", "missing/x.png"], "no folder 'missing'"),
        (["sample", "--out", "x.npz", "--seed", "-1"], "seed = -1"),
        (["sample", "--out", "x.npz", "--seed", "9" * 30], "seed = 999"),
        (["sample", "--out", "x.npz", "--count", "1000000000"], "count = 1000000000"),
        (["sample", "--out", "x.npz", "--labels", "9" * 400], "label = 999"),
        (["sample", "--out", "x.npz", "--guidance", "nan"], "guidance = nan"),
        (["sample", "--out", "x.npz", "--guidance", "1e38"], "to infinity"),
        (["sample", "--out", "x.npz", "--solver", "heun"], "choose one of ddim, dpm++"),
        (["evaluate", "--count", "49"], "count = 49: must be a whole number within 50"),
        (["evaluate", "--out", "x.txt"], "must end in .json"),
        (["sample"], "--out"),
        (["evaluate", "--samples", "none.npz"], "no samples file 'none.npz'"),
        (["evaluate", "--samples", "text.safetensors"], "no .npy or .npz"),
        (["evaluate", "--samples", "nan.npy"], "NaN"),
        (["evaluate", "--samples", "shape.npy"], "(60, 3)"),
        (["evaluate", "--samples", "labels.npz"], "label 12"),
        (["evaluate", "--samples", "nanlabels.npz"], "labels of type float64"),
        (["evaluate", "--samples", "fewlabels.npz"], "shape (3,)"),
        (["evaluate", "--samples", "single.npz"], "class 1 has one sample"),
        (["evaluate", "--samples", "objects.npz"], "no .npy or .npz file of numbers"),
        (["evaluate", "--samples", "words.npy"], "images of type <U1"),
        (["evaluate", "--samples", "complex.npy"], "images of type complex128"),
        (["evaluate", "--samples", "scalar.npy"], "shape ()"),
        (["evaluate", "--samples", "huge.npy"], "NaN or infinite"),
        (["evaluate", "--samples", "grey.npy"], "samples reach 255"),
        (["evaluate", "--samples", "cut.npz"], "no .npy or .npz file of numbers"),
        (["evaluate", "--samples", "rotten.npz"], "no .npy or .npz file of numbers"),
        (["evaluate", "--samples", "."], "no samples file"),
        (["fit"], "--config"),
        (["fit", "--config", "none.yaml"], "shipped are"),
        (["fit", "--config", "bad.yaml"], "bad.yaml"),
        (["fit", "--config", "digits_tdm.yaml", "--model.init_args.teacher=x"], "no file 'x'"),
        (["fit", "--config", "digits_tdm.yaml", "--model.init_args.method.init_args.steps=1001"],
         "K = 1001"),
        (["fit", "--config", "digits_tdm.yaml", "--no_such_option=1"], "no_such_option"),
        (["fit", "--config", "digits_tdm.yaml", "--threads=0"], "threads = 0: must be"),
        (["fit", "--config", "digits_tdm.yaml", "--seed_everything=-1"], "-1"),
        (["fit", "--config", "digits_tdm.yaml", "--trainer.accelerator=abacus"], "abacus"),
        (["fit", "--config", "digits_tdm.yaml", "--trainer.callbacks.init_args.every=0"],
         "every = 0"),
        (["fit", "--config", "digits_classifier.yaml", "--data.init_args.batch_size=0"],
         "batch_size = 0"),
        (["fit", "--config", "digits_tdm.yaml", "--model.init_args.method=null"], "method"),
        (["fit", "--config", "digits_tdm.yaml", "--trainer.max_epochs=many"],
         "max_epochs = many: expected int or null"),
        (["fit", "--config", "digits_tdm.yaml", "--trainer.max_epochs=-5"], "max_epochs"),
        (["fit", "--config", "digits_tdm.yaml", "--model.init_args.method.init_args.steps=null"],
         "tdm: steps = null: say that in the configuration's file"),
        (["fit", "--config", "digits_tdm.yaml", "--model.init_args.method.init_args.steps=a"],
         "tdm: steps = a: expected int or list of int or null\n"),
        (["fit", "--config", "digits_tdm.yaml", "--model.init_args.method.init_args.guidance=3"],
         "tdm: guidance = 3: expected list of float or null\n"),
        (["fit", "--config", "deep.yaml"], "deep.yaml is not YAML: maximum recursion depth"),
        (["fit", "--config", "digits_teacher.yaml",
          "--model.init_args.network.init_args.width=10000000"], "out of memory; take a smaller"),
        (["sample", "--out", "o.npz", "--model", ""], "no file ''; shipped are"),
        (["fit", "--config", "digits_tdm.yaml", "--trainer.max_time=00:00:00:05"], "max_time ends"),
        (["fit", "--config", "digits_tdm.yaml", "--trainer.max_epochs=0"], "max_epochs = 0: no up"),
        (["fit", "--config", "digits_tdm.yaml", "--trainer.limit_train_batches=0"],
         "limit_train_batches = 0: no update"),
        (["fit", "--config", "digits_tdm.yaml", "--trainer.callbacks=null", "--ckpt_path=last"],
         "no ModelCheckpoint with a dirpath"),
        (["fit", "--config", "digits_tdm.yaml", "--trainer.logger.save_dir=text.safetensors"],
         "text.safetensors/digits_tdm: a file is in the way of this folder"),
        (["fit", "--config", "digits_tdm.yaml", "--model.init_args.guidance=.nan"],
         "guidance = nan"),
        (["fit", "--config", "digits_tdm.yaml", "--model.init_args.batch_size=0"],
         "batch_size = 0"),
        (["fit", "--config", "digits_tdm.yaml", "--model.init_args.updates_per_epoch=0"],
         "updates_per_epoch = 0"),
        (["fit", "--config", "digits_tdm.yaml", "--model.init_args.seed=-1"], "seed = -1"),
        (["fit", "--config", "digits_tdm.yaml",
          "--model.init_args.student_optimizer.init_args.lr=-1"], "student_optimizer refuses"),
        (["fit", "--config", "digits_tdm.yaml",
          "--model.init_args.method.init_args.metric=huber"], "metric = huber: choose one of"),
        (["fit", "--config", "digits_tdm.yaml", "--model.method=abc"],
         "tdm: method: Expected a dot import path string: abc\n"),
        (["fit", "--config", "digits_tdm.yaml", "--model.method=tdm.Nope"],
         "tdm: method: No module named 'tdm'\n"),
        (["fit", "--config", "digits_tdm.yaml", "--model.method=tdmlib.schedules.Schedule"],
         "tdm: method: Expected 'tdmlib.schedules.Schedule' to be a subclass of"),
        (["fit", "--config", "digits_tdm.yaml", "--model.student_optimizer=torch.optim.Nope"],
         "tdm: student_optimizer: module 'torch.optim' has no attribute 'Nope'\n"),
        (["fit", "--config", "digits_tdm.yaml", "--trainer.callbacks+=tdmlib.Nope"],
         "tdm: trainer.callbacks: module 'tdmlib' has no attribute 'Nope'\n"),
        (["fit", "--config", "digits_teacher.yaml",
          "--model.init_args.network.init_args.width=-3"], "width = -3"),
        (["fit", "--config", "digits_tdm.yaml", "--ckpt_path=none.ckpt"], "no checkpoint"),
        (["fit", "--config", "digits_tdm.yaml", "--ckpt_path=text.safetensors"], "no checkpoint"),
        (["fit", "--config", "digits_tdm.yaml", "--ckpt_path=list.ckpt"],
         "no checkpoint of a training run"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(tdm, arguments, says):
    Path("text.safetensors").write_text("not weights")
    Path("bad.yaml").write_text("model: [unclosed")
    Path("deep.yaml").write_text("model: " + "[" * 3000)
    np.save("nan.npy", np.full((60, 64), np.nan))
    np.save("shape.npy", np.zeros((60, 3)))
    np.savez("labels.npz", images=np.zeros((60, 64)), labels=np.full(60, 12))
    np.savez("nanlabels.npz", images=np.zeros((60, 64)), labels=np.full(60, np.nan))
    np.savez("fewlabels.npz", images=np.zeros((60, 64)), labels=np.zeros(3, dtype=int))
    np.savez("single.npz", images=np.zeros((60, 64)), labels=np.arange(60) // 59)
    np.savez("objects.npz", images=np.array([None, 1]))
    np.save("words.npy", np.array(["a"]))
    np.save("complex.npy", np.full((60, 64), 1j))
    np.save("scalar.npy", np.float64(3))
    np.save("huge.npy", np.full((60, 64), 1e300))
    np.save("grey.npy", np.full((60, 64), 255))
    whole = Path("labels.npz").read_bytes()
    Path("cut.npz").write_bytes(whole[: len(whole) // 2])
    Path("rotten.npz").write_bytes(whole.replace(b"\0" * 64, b"\1" * 64, 1))
    torch.save([1], "list.ckpt")
    Path("folder.npz").mkdir()
    os.mkfifo("pipe.npz")
    before = sorted(os.listdir())
    status, out, error = tdm(*arguments)
    assert status == 2, out + error
    assert says in error
    assert error.count("\n") == 1, error
    assert out == ""
    assert sorted(os.listdir()) == before
