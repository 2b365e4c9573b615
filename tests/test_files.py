import os

import pytest

from tdmlib.errors import InputError
from tdmlib.files import check_target, write_whole


def test_a_file_appears_whole(tmp_path):
    for content, expected in (("é", "é".encode()), (b"\0", b"\0"), (lambda f: f.write(b"x"), b"x")):
        assert write_whole(tmp_path / "a", content).read_bytes() == expected
    assert os.listdir(tmp_path) == ["a"]


def test_what_stops_the_writing_leaves_the_old_file(tmp_path):
    write_whole(tmp_path / "a", "old")
    for error, seen in (
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(28, "full"), InputError),
    ):

        def stop(file, error=error):
            file.write(b"half")
            raise error

        with pytest.raises(seen):
            write_whole(tmp_path / "a", stop)
        assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_only_regular_files_are_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, says in (
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path, "is a folder"),
        ("", "is a folder"),
        (tmp_path / "none" / "a", "no folder"),
        (tmp_path / ("a" * 300), "cannot write|too long"),
    ):
        for write in (check_target, lambda path: write_whole(path, "new")):
            with pytest.raises(InputError, match=says):
                write(path)
    assert os.listdir(tmp_path) == ["pipe"]


def test_suffixes(tmp_path):
    check_target(tmp_path / "a.PNG", ".png", ".svg")
    with pytest.raises(InputError, match=r"must end in \.png, \.svg"):
        check_target(tmp_path / "a.npz", ".png", ".svg")


@pytest.mark.parametrize("there", [True, False])
def test_writing_through_a_link_keeps_it(tmp_path, there):
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "a", tmp_path / "link"
    if there:
        target.write_text("old")
    link.symlink_to(os.path.join("far", "a"))
    assert write_whole(link, "new") == link
    assert link.is_symlink() and target.read_text() == "new" and not target.is_symlink()
    assert os.listdir(tmp_path / "far") == ["a"]
    astray = tmp_path / "astray"
    astray.symlink_to("none/a")
    with pytest.raises(InputError, match="no folder"):
        write_whole(astray, "new")


def test_a_name_with_a_nul_is_refused(tmp_path):
    for name in ("a\0b", "a\0/b"):
        with pytest.raises(InputError, match="NUL"):
            write_whole(tmp_path / name, "new")


def test_whoever_reads_the_old_file_reads_it_to_its_end(tmp_path):
    write_whole(tmp_path / "a", "old")
    with (tmp_path / "a").open() as reader:
        write_whole(tmp_path / "a", "new")
        assert reader.read() == "old"


def test_a_folder_that_is_not_writable_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tdmlib.files.os.access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(InputError, match="is not writable"):
        check_target(tmp_path / "a")
