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
