import json
import os
from pathlib import Path

import numpy as np
import pytest

from tdmlib.cli import main


@pytest.fixture
def tdm(capfd):
    """Run `tdm` in this process: (exit status, stdout, stderr)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        return stop.value.code or 0, *capfd.readouterr()

    return run


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


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
        (["sample", "--out", "x.npz", "--steps", "1001"], "K must be within 1 … 1000"),
        (["sample", "--out", "x.npz", "--steps", "0"], "K = 0"),
        (["sample", "--out", "x.npz", "--labels", "3,10"], "label 10 is out of range"),
        (["sample", "--out", "x.npz", "--labels", "three"], "'three'"),
        (["sample", "--out", "x.npz", "--count", "0"], "count = 0"),
        (["sample", "--out", "x.npz", "--model", "none.safetensors"], "shipped are"),
        (["sample", "--out", "x.npz", "--model", "text.safetensors"], "not a safetensors file"),
        (["sample", "--out", "missing/x.npz"], "no folder 'missing'"),
        (["sample"], "--out"),
        (["evaluate", "--samples", "none.npz"], "no samples file 'none.npz'"),
        (["evaluate", "--samples", "text.safetensors"], "no .npy or .npz"),
        (["evaluate", "--samples", "nan.npy"], "NaN"),
        (["evaluate", "--samples", "shape.npy"], "(60, 3)"),
        (["evaluate", "--samples", "labels.npz"], "label 12"),
        (["fit"], "--config"),
        (["fit", "--config", "none.yaml"], "shipped are"),
        (["fit", "--config", "bad.yaml"], "bad.yaml"),
        (["fit", "--config", "digits_tdm.yaml", "--model.init_args.teacher=x"], "no file 'x'"),
        (["fit", "--config", "digits_tdm.yaml", "--model.init_args.method.init_args.steps=1001"],
         "K must be within"),
        (["fit", "--config", "digits_tdm.yaml", "--no_such_option=1"], "no_such_option"),
        (["fit", "--config", "digits_tdm.yaml", "--trainer.max_epochs=many"], "max_epochs"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(tdm, arguments, says):
    Path("text.safetensors").write_text("not weights")
    Path("bad.yaml").write_text("model: [unclosed")
    np.save("nan.npy", np.full((60, 64), np.nan))
    np.save("shape.npy", np.zeros((60, 3)))
    np.savez("labels.npz", images=np.zeros((60, 64)), labels=np.full(60, 12))
    before = sorted(os.listdir())
    status, out, error = tdm(*arguments)
    assert status == 2, out + error
    assert says in error
    assert error.count("\n") == 1, error
    assert out == ""
    assert sorted(os.listdir()) == before
