"""A run that is stopped stops whole; two runs never meet."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

SLOW = """
import os, pathlib, time
pathlib.Path("NAME.pid").write_text(str(os.getpid()))
time.sleep(600)
"""


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_every_chapter_and_keeps_what_is_done(project, number):
    project.add("02_done", "print(2)")
    for name in ("03_slow", "04_slow", "05_waits"):
        project.add(name, SLOW.replace("NAME", name))
    folder = project.source.parent
    pids = [folder / "03_slow.pid", folder / "04_slow.pid"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(project.command("execute"), env=env, **pipes) as process:
        try:
            wait_for(lambda: all(pid.is_file() and pid.read_text() for pid in pids))
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()  # kernels end with it
    assert process.returncode == 130
    assert err == "stopped; what was executed is kept\n"
    assert "executed 02_done" in out
    assert (folder / "02_done.ipynb").is_file()
    assert not (folder / "05_waits.pid").exists()
    assert not any(is_running(int(pid.read_text())) for pid in pids)
    assert not list(folder.glob("0[345]*.ipynb"))


@pytest.mark.parametrize("command", ["execute", "build", "figures", "chapter 01"])
def test_one_run_at_a_time(project, monkeypatch, command):
    tool, tried = project.tool, []

    def try_to_lock(*_, **__):
        with (tool.BUILD / ".lock").open("w") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tried.append(None)

    for task in ("refresh", "build", "figures"):
        monkeypatch.setattr(tool, task, try_to_lock)
    monkeypatch.setattr(sys, "argv", ["book.py", *command.split()])
    tool.main()
    assert tried
