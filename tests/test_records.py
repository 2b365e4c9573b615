import json

import pytest

from tdmlib import records, resources
from tdmlib.errors import InputError
from tdmlib.notebook import profile


def test_a_record_comes_back_with_its_provenance(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(records, "folder", lambda kind: tmp_path)
    path = records.write_record("trial", {"x": [1.5]}, config={"K": 4}, seeds=[0, 1])
    record = records.read_record("trial")
    assert record["numbers"] == {"x": [1.5]} and record["seeds"] == [0, 1]
    assert record["versions"]["torch"].startswith("2.13.0")
    assert {"device", "revision", "python", "config"} <= set(record)
    assert [p.name for p in path.parent.iterdir()] == ["trial.json"]
    with pytest.raises(InputError, match="no record 'other'; there are: trial"):
        records.read_record("other")


def test_shipped_files_are_found_and_paths_come_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("digits_tdm.yaml", "configs/digits_tdm.yaml"):
        assert resources.find("configs", name).is_file()
    (tmp_path / "digits_tdm.yaml").write_text("own")
    assert resources.find("configs", "digits_tdm.yaml").read_text() == "own"
    for name in ("x.yaml", "../pyproject.toml"):
        with pytest.raises(InputError, match=r"shipped are .*digits_tdm\.yaml"):
            resources.find("configs", name)


FIELDS = {"name", "numbers", "config", "seeds", "device", "versions", "revision"}


def test_every_record_is_complete():
    for path in (resources.folder("data") / "results").glob("*.json"):
        record = json.loads(path.read_text())
        assert {"name", "numbers", "config", "seeds", "device", "versions", "revision"} <= set(
            record
        )
        assert record["name"] == path.stem


def test_the_profile_is_light_or_full(monkeypatch):
    monkeypatch.delenv("TDM_PROFILE", raising=False)
    assert profile() == "light"
    monkeypatch.setenv("TDM_PROFILE", "fast")
    with pytest.raises(InputError, match="light, full"):
        profile()
