import json
import re
import subprocess

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
    assert [p.name for p in path.parent.iterdir()] == ["trial.json"] and "earlier" not in record
    earlier = {"abc": ["x"]}
    records.write_record("trial", {"x": [1.5], "y": [2]}, config={}, seeds=[0], earlier=earlier)
    record = records.read_record("trial")
    assert record["earlier"] == earlier
    now = record["revision"]
    assert records.revisions("trial", ["y", "x", "z"]) == {now: ["y", "z"], "abc": ["x"]}
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


@pytest.mark.parametrize("name", ["../y", "a/b", "", "a.b", "a\0", "a b", "a\n"])
def test_records_stay_in_their_folder(tmp_path, monkeypatch, name):
    monkeypatch.setattr(records, "folder", lambda kind: tmp_path / "data")
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="letters, digits, _ and -"):
        records.write_record(name, {}, config={}, seeds=[])
    with pytest.raises(InputError, match="letters, digits, _ and -"):
        records.read_record(name)
    assert [p.name for p in tmp_path.rglob("*")] == ["data"]


def test_broken_and_long_records_are_refused(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(records, "folder", lambda kind: tmp_path)
    for content in (b"{", b"", b"\xff"):
        (tmp_path / "results" / "cut.json").write_bytes(content)
        with pytest.raises(InputError, match="'cut' is broken JSON") as caught:
            records.read_record("cut")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"no record .aaa.*there are: cut"):
        records.read_record("a" * 5000)


def test_a_record_says_whether_the_library_was_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "folder", lambda kind: tmp_path / kind)
    for name in ("data", "tdmlib", "configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("old")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *arguments], check=True)
    revision = records.provenance()["revision"]
    assert re.fullmatch("[0-9a-f]{40}", revision)
    (tmp_path / "data" / "file").write_text("new")  # what a measurement writes is no change
    assert records.provenance()["revision"] == revision
    (tmp_path / "tdmlib" / "file").write_text("new")
    assert records.provenance()["revision"] == f"{revision}+changes"


def test_only_two_folders_are_shipped():
    for kind in ("tests", "cli", "../data", "none"):
        for ask in (resources.folder, lambda kind: resources.find(kind, "x")):
            with pytest.raises(InputError, match="choose configs or data"):
                ask(kind)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "configs/" + "a" * 5000])
def test_names_that_no_file_can_have_are_not_found(name):
    with pytest.raises(InputError, match=r"shipped are .*digits_tdm\.yaml"):
        resources.find("configs", name)
