import json
import subprocess
import sys

import pytest

from tdmlib import __version__
from tdmlib.cli.planning import verdict
from tdmlib.linear import MergePlan, canonical_plan


def tdm(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tdmlib", *arguments], capture_output=True, text=True
    )


def test_version_and_plan_leave_the_heavy_libraries_unloaded():
    code = (
        "import sys; from tdmlib.cli import main\n"
        "try: main(['plan', '--steps', '8', '--time', '1', '--lam', '1'])\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert not {'torch', 'lightning', 'matplotlib', 'sympy'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert tdm("--version").stdout == f"tdm {__version__}\n"


def test_plan_prints_the_numbers_of_the_theory():
    run = tdm("plan", "--steps", "32", "--time", "6.4", "--lam", "1.08")
    assert run.returncode == 0 and run.stderr == ""
    for number in ("0.999883", "-3.0033e-09", "-9.3461e-09", "-7.1729e-08", "-2.9919e-09"):
        assert number in run.stdout
    assert "sequential_boot *" in run.stdout and "mixed phase" in run.stdout


def test_plan_as_json_round_trips():
    run = tdm("plan", "--steps", "6", "--time", "1", "--lam", "0.5", "--strategy", "progressive",
              "--json")  # fmt: skip
    report = json.loads(run.stdout)
    assert MergePlan.from_json(report["plan"]) == canonical_plan("progressive", 6)
    assert report["best_canonical"] == ["sequential_boot"]
    row = report["strategies"]["vanilla"]
    assert row["operator"] - report["teacher"] == pytest.approx(row["error"], abs=1e-15)


def test_strategies_that_differ_by_rounding_alone_are_all_marked():
    run = tdm("plan", "--steps", "64", "--time", "6", "--lam", "1e12")
    assert "vanilla * " in run.stdout and "sequential_consistency * " in run.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--steps", "1", "--time", "1", "--lam", "1"],
            "steps = 1: must be a whole number within 2",
        ),
        (["--steps", "100001", "--time", "1", "--lam", "1"], "2 … 100000"),
        (["--steps", "8", "--time", "1", "--lam", "-2"], "λ = -2"),
        (["--steps", "8", "--time", "-1", "--lam", "1"], "s = -1"),
        (["--steps", "8", "--time", "nan", "--lam", "1"], "s = nan"),
        (["--steps", "8", "--time", "1", "--lam", "1", "--strategy", "best"], "'best'"),
        (["--steps", "8", "--time", "1"], "--lam"),
        (["--steps", "eight", "--time", "1", "--lam", "1"], "--steps"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(arguments, says):
    run = tdm("plan", *arguments)
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr.count("\n") == 1 and says in run.stderr


BOUNDARIES = (1.05, 2.0)


@pytest.mark.parametrize(
    ("lam", "phase"),
    [(0, "λ ≤ 1.05"), (1.05, "λ ≤ 1.05"), (1.0501, "mixed"), (1.9999, "mixed"),
     (2.0, "λ ≥ 2.0"), (3.0, "λ ≥ 2.0")],
)  # fmt: skip
def test_the_verdict_holds_up_to_and_from_the_boundaries(lam, phase):
    assert phase in verdict(lam, BOUNDARIES)
