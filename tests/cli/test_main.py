"""What `tdm` does when its surroundings fail: encodings, full disks, Ctrl-C."""

import errno
import io
import os
import subprocess
import sys

import pytest

from tdmlib.cli import main, planning, sampling

PLAN = ["plan", "--steps", "8", "--time", "1", "--lam", "1"]


def status_of(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return stop.value.code or 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_terminal_cannot_show_is_replaced(encoding):
    for lam, status in (("1", 0), ("-1", 2)):
        run = subprocess.run(
            [sys.executable, "-m", "tdmlib", *PLAN[:-1], lam],
            env=os.environ | {"PYTHONIOENCODING": encoding},
            capture_output=True,
        )
        assert run.returncode == status
        assert b"Traceback" not in run.stderr and b"?" in run.stdout + run.stderr


class Full(io.StringIO):
    """A stream on a full disk, which says so when it is written to, or only when flushed."""

    def __init__(self, *refused, error=errno.ENOSPC):
        super().__init__()
        self.refused, self.error = refused, error

    def write(self, text):
        return self._try("write", text)

    def flush(self):
        return self._try("flush")

    def _try(self, name, *args):
        if name in self.refused:
            raise OSError(self.error, os.strerror(self.error))
        return getattr(super(), name)(*args)


@pytest.mark.parametrize("refused", [("write",), ("flush",), ("write", "flush")])
def test_a_stdout_that_is_full_is_one_line_and_status_1(monkeypatch, capsys, refused):
    stdout = Full(*refused)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert status_of(*PLAN) == 1
    assert capsys.readouterr().err == "tdm: [Errno 28] No space left on device\n"
    assert stdout.closed  # else Python would flush it again


def test_a_reader_that_has_gone_is_no_matter_for_words():
    run = subprocess.Popen(
        [sys.executable, "-m", "tdmlib", *PLAN],
        env=os.environ | {"PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    run.stdout.close()
    assert run.stderr.read() == b"" and run.wait() == 1


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [(planning, "optimal_student", PLAN), (sampling, "load_denoiser", ["sample", "--out", "x.npz"]),
     (sampling, "load_denoiser", ["evaluate"])],
)  # fmt: skip
def test_an_interrupt_is_one_line_and_status_130(
    tmp_path, monkeypatch, capsys, module, name, arguments
):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, name, interrupted)
    assert status_of(*arguments) == 130
    assert capsys.readouterr() == ("", "tdm: interrupted\n")
    assert os.listdir() == []
