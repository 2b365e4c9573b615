import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from tdmlib import __version__
from tdmlib.cli.outline import outline
from tdmlib.cli.planning import SCHEDULES, _notice
from tdmlib.linear import (
    STRATEGIES,
    MergePlan,
    all_plans,
    canonical_plan,
    composite,
    evaluate,
    flow_map,
    optimal_plan,
    w2_error,
)
from tdmlib.schedules import cosine, linear_beta

PUBLISHED = ["plan", "--steps", "32", "--time", "6.4"]
SMALL = ["plan", "--steps", "8", "--time", "1"]


def test_version_and_plan_leave_the_heavy_libraries_unloaded(tmp_path):
    np.save(tmp_path / "lam.npy", [0.5, 1.5])
    code = (
        "import sys; from tdmlib.cli import main\n"
        "for what in (['--lam', '1.2', '--json'], ['--spectrum', 'lam.npy']):\n"
        "    try: main(['plan', '--steps', '8', '--time', '1', *what])\n"
        "    except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert not {'torch', 'lightning', 'matplotlib', 'sympy', 'sklearn'} & set(sys.modules)"
    )
    ask = [sys.executable, "-c", code]
    run = subprocess.run(ask, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    run = subprocess.run([sys.executable, "-m", "tdmlib", "--version"], capture_output=True)
    assert run.stdout.decode() == f"tdm {__version__}\n"


def asked(tdm, *arguments) -> dict:
    """The answer as JSON."""
    status, out, error = tdm(*arguments, "--json")
    assert status == 0, error
    return json.loads(out)


@pytest.mark.parametrize(
    ("lam", "numbers"),
    [("0.5", "0.678762 +8.8354e-07 +8.6464e-05 +3.5718e-04 +7.2917e-07"),
     ("1.08", "0.999883 -3.0033e-09 -9.3461e-09 -7.1729e-08 -2.9919e-09"),
     ("2", "1.357524 -9.9037e-07 -1.2693e-06 -5.3275e-06 -1.1429e-06"),
     ("2.5", "1.515055 -1.4253e-06 -1.8062e-06 -6.4303e-06 -1.7281e-06")],
)  # fmt: skip
def test_plan_prints_the_numbers_of_the_theory(tdm, lam, numbers):
    status, out, _ = tdm(*PUBLISHED, "--lam", lam)
    assert status == 0
    target, *errors = numbers.split()
    assert f"P = {target}\n" in out
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    for name, error in zip(STRATEGIES, errors, strict=True):
        assert error in rows[name]
    assert max(map(len, out.splitlines())) <= 80


def test_the_range_of_all_plans_stands_beside_the_strategies(tdm):
    out = tdm(*PUBLISHED, "--lam", "1.08")[1]
    low, high = (re.search(rf"^{end} of all plans .* (\S+)$", out, re.M)[1]
                 for end in ("smallest", "largest"))  # fmt: skip
    assert (float(low), float(high)) == pytest.approx((-2.6e-7, 5.4e-8), rel=0.01)
    assert "sequential_boot * " in out and "vanilla  " in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--lam 0.5", "Certified optimal: for λ ≤ 1.0503 no plan beats sequential BOOT"),
        ("--lam 1.0503", "Certified optimal: for λ ≤ 1.0503 no plan beats sequential BOOT"),
        ("--lam 3", "Certified optimal: for λ ≥ 2.0012 no plan beats vanilla (Gao and Li, Thm."),
        ("--lam 1.5", "1.0503 < λ < 2.0012 is the mixed phase, where no strategy is proved best. "
                      "Certified optimal: the teacher lies above all plans"),
        ("--lam 1.06 --method breakpoints", "Not certified: this method keeps to plans that"),
        ("--lam 1.08 --cuts 8,16", "lies inside the range of all plans, where errors of"),
        ("--lam 1.08", "Certified optimal: what is left of its error is rounding."),
        ("--lam 0.5 --budget total", "and for λ ≥ 2.0012 no plan beats vanilla when all merges"),
        ("--lam 0.5 --reference flow", "against the flow no theorem holds there. Certified "
                                       "optimal: the probability flow lies above all plans"),
        ("--lam 3 --reference flow", "Thm. 4.2"),
        ("--lam 0.5 --student-steps 32", "takes every step of its teacher, and merges none."),
        ("--lam 0.5 --cuts 16", "Certified optimal: the teacher lies below all plans"),
    ],
)  # fmt: skip
def test_the_answer_says_whether_a_better_plan_can_exist_and_why(tdm, arguments, says):
    out = tdm(*PUBLISHED, *arguments.split())[1]
    assert says in " ".join(out.split())


def test_few_steps_are_planned_by_trying_all_plans(tdm):
    found = asked(tdm, "plan", "--steps", "6", "--time", "1", "--lam", "1.5")
    assert found["best"]["why"] == "Certified optimal: all plans were tried."
    operators = [float(evaluate(plan, cosine(6), 1.5, 1.0)) for plan in all_plans(6)]
    least = min(w2_error(operator, cosine(6), 1.5) for operator in operators)
    assert found["best"]["w2"] == pytest.approx(least, rel=1e-12)
    assert found["bounds"] == pytest.approx([min(operators), max(operators)], rel=1e-12)


def carried_out(plans, schedule, lam, time):
    """The operator of plans as JSON holds them, each segment with the same time a merge."""
    plans = [MergePlan.from_json(plan) for plan in plans]
    spans = [plan.span for plan in plans]
    assert (spans[0][0], spans[-1][1]) == (0, schedule.T)
    assert all(left[1] == right[0] for left, right in pairwise(spans))
    return np.prod([evaluate(plan, schedule, lam, time) for plan in plans], axis=0)


@pytest.mark.parametrize(
    "arguments",
    ["", "--lam 1.08", "--budget total", "--reference flow", "--student-steps 3", "--cuts 3,9",
     "--cuts 3,9 --budget total", "--schedule flow-matching --method breakpoints"],
)  # fmt: skip
def test_json_holds_plans_that_give_its_numbers(tdm, arguments):
    ask = ["plan", "--steps", "12", "--time", "2", "--lam", "0.7", "--strategy", "progressive"]
    found = asked(tdm, *ask, *arguments.split())
    schedule, lam = SCHEDULES[found["schedule"]](12), found["lam"]
    target = (flow_map if found["reference"] == "flow" else composite)(schedule, lam)
    assert found["target"] == pytest.approx(float(target), rel=1e-15)
    assert found["teacher"] == pytest.approx(float(composite(schedule, lam)), rel=1e-15)
    for row in (found["best"], found["strategies"]["progressive"]):
        assert row["merges"] == sum(len(MergePlan.from_json(p).merges) for p in row["plans"])
        time = 2 / row["merges"] if found["budget"] == "total" else 2
        operator = carried_out(row["plans"], schedule, lam, time)
        assert row["operator"] == pytest.approx(float(operator), rel=1e-14)
        assert row["error"] == pytest.approx(float(operator - target), abs=1e-14)
        w2 = w2_error(operator, schedule, lam, found["reference"])
        assert row["w2"] == pytest.approx(w2, rel=1e-9, abs=1e-14)
        assert row["w2"] >= found["best"]["w2"]
    cuts = [MergePlan.from_json(plan).start for plan in found["best"]["plans"][1:]]
    assert cuts == found["cuts"] and found["student_steps"] == len(cuts) + 1
    low, high = found["bounds"]
    for row in found["strategies"].values():
        assert low * (1 - 1e-12) <= row["operator"] <= high * (1 + 1e-12)
    if not cuts:
        whole = MergePlan.from_json(found["strategies"]["progressive"]["plans"][0])
        assert whole == canonical_plan("progressive", 12)


@pytest.mark.parametrize(
    "arguments",
    ["--lam 1.08", "--lam 1.08 --student-steps 4", "--spectrum lam.npy",
     "--spectrum lam.npy --student-steps 3"],
)  # fmt: skip
@pytest.mark.parametrize("budget", ["merge", "total"])
def test_no_strategy_beats_the_best_plan(tdm, arguments, budget):
    np.save("lam.npy", np.geomspace(1e-3, 10, 16))
    ask = ["plan", "--steps", "16", "--time", "6.4", "--budget", budget]
    found = asked(tdm, *ask, *arguments.split())
    least = min(row["w2"] for row in found["strategies"].values())
    assert found["best"]["lower_bound"] <= found["best"]["w2"] <= least * (1 + 1e-12)


def test_a_named_schedule_is_part_of_the_published_one(tdm):
    found = asked(tdm, "plan", "--steps", "25", "--time", "1", "--lam", "0.5", "--schedule",
                  "linear")  # fmt: skip
    every_40th = linear_beta(1000).sub(range(0, 1001, 40))
    assert found["teacher"] == pytest.approx(float(composite(every_40th, 0.5)), rel=1e-15)
    boundaries = asked(tdm, *SMALL, "--lam", "1", "--schedule", "edm")["boundaries"]
    assert boundaries[0] > 1 and boundaries != asked(tdm, *SMALL, "--lam", "1")["boundaries"]


def test_one_plan_serves_a_whole_spectrum(tdm):
    lam = np.array([0.3, 4.0, 1.5])
    np.save("lam.npy", lam)
    found = asked(tdm, "plan", "--steps", "6", "--time", "0.5", "--spectrum", "lam.npy")
    assert found["lam"] == [4.0, 1.5, 0.3]
    best = optimal_plan(cosine(6), lam, 0.5)
    assert found["best"]["w2"] == pytest.approx(best.error, rel=1e-12)
    assert found["phases"] == {"boot": 1, "mixed": 1, "vanilla": 1}
    for name, row in found["strategies"].items():
        operator = evaluate(canonical_plan(name, 6), cosine(6), lam, 0.5)
        assert row["w2"] == pytest.approx(w2_error(operator, cosine(6), lam), rel=1e-12)
        assert row["w2"] >= found["best"]["w2"] >= found["best"]["lower_bound"]
    out = tdm("plan", "--steps", "12", "--time", "0.5", "--spectrum", "lam.npy")[1]
    assert "Phases: 1 λ ≤ 1.1403 (BOOT's), 1 between (mixed), 1 λ ≥ 2.0086 (vanilla's)." in out
    assert "the variances want different plans" in " ".join(out.split())
    assert f"no plan is below {'':>13}" in out and max(map(len, out.splitlines())) <= 80


def test_data_are_reduced_to_their_spectrum(tdm):
    data = np.random.default_rng(0).normal(size=(30, 2, 2)) * 0.3
    np.save("data.npy", data)
    found = asked(tdm, *SMALL, "--spectrum", "data.npy")
    lam = np.linalg.eigvalsh(np.cov(data.reshape(30, 4).T))[::-1]
    assert found["lam"] == pytest.approx(lam, rel=1e-12)
    assert found["best"]["strategy"] == "sequential_boot" and "Thm. 4.3" in found["best"]["why"]


def test_a_single_variance_of_a_file_is_planned_like_a_number(tdm):
    np.save("lam.npy", [1.3])
    one, number = (
        asked(tdm, *SMALL, *ask) for ask in (["--spectrum", "lam.npy"], ["--lam", "1.3"])
    )
    assert one["best"]["plans"] == number["best"]["plans"]
    assert one["best"]["operator"] == [number["best"]["operator"]]


def test_strategies_that_differ_by_rounding_alone_are_all_marked(tdm):
    out = tdm("plan", "--steps", "64", "--time", "6", "--lam", "1e12")[1]
    assert "vanilla * " in out and "sequential_consistency * " in out


@pytest.mark.parametrize("T", [2, 3, 5, 7])
def test_the_outline_tells_all_plans_apart(T):
    texts = {outline((plan,), 100) for plan in all_plans(T)}
    assert len(texts) == len(list(all_plans(T)))


def test_the_outline_says_a_pattern_in_one_line():
    boot = outline((canonical_plan("sequential_boot", 500),), 10)
    assert boot.splitlines() == ["merge (0, 500]   A_498 … A_1, one by one, onto",
                                 "  merge (498, 500]   A_500 … A_499"]  # fmt: skip
    assert outline((canonical_plan("vanilla", 4),), 10) == "merge (0, 4]   A_4 … A_1"
    assert outline((canonical_plan("sequential_consistency", 4),), 10).splitlines() == [
        "merge (0, 4]   A_3 … A_4, one by one, onto", "  merge (0, 2]   A_2 … A_1"]  # fmt: skip
    two = outline((MergePlan((0, 0, 2)), MergePlan((0,), start=2)), 10)
    assert two.splitlines() == ["A_3", "merge (0, 2]   A_2 … A_1"]
    cut = outline((canonical_plan("progressive", 64),), 5).splitlines()
    assert len(cut) == 6 and cut[-1] == "… (63 merges in all)"


def test_plot_draws_an_arc_for_each_merge(tdm):
    status, out, _ = tdm(*SMALL, "--lam", "0.5", "--plot", "arcs.svg")
    assert status == 0 and out.endswith("wrote a picture of it to arcs.svg\n")
    arcs = Path("arcs.svg").read_text().count("stroke-width: 1.2")
    assert arcs == len(canonical_plan("sequential_boot", 8).merges)
    tdm(*SMALL, "--lam", "1.2", "--cuts", "1,5", "--plot", "arcs.svg", "--strategy", "vanilla")
    found = asked(tdm, *SMALL, "--lam", "1.2", "--cuts", "1,5", "--plot", "arcs.PDF")
    arcs = Path("arcs.svg").read_text().count("stroke-width: 1.2")
    assert arcs == found["best"]["merges"] + 2
    assert Path("arcs.PDF").read_bytes().startswith(b"%PDF")
    assert tdm(*SMALL, "--lam", "1", "--student-steps", "8", "--plot", "none.svg")[0] == 0


def test_only_what_takes_long_is_announced(capsys):
    with _notice("slow", after=60):
        pass
    with _notice("slow", after=0):
        sleep(0.2)
    assert capsys.readouterr() == ("", "slow\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--lam 1 --steps 1", "steps = 1: must be a whole number within 2"),
        ("--lam 1 --steps 100001", "2 … 100000"),
        ("--lam 1 --steps 1001 --schedule linear", "must be a whole number within 2 … 1000"),
        ("--lam 1 --steps eight", "--steps"),
        ("--lam -2", "λ = -2"),
        ("--lam nan", "λ = nan"),
        ("--lam 1 --time -1", "s = -1"),
        ("--lam 1 --time nan", "s = nan"),
        ("", "--lam"),
        ("--lam 1 --spectrum lam.npy", "give either --lam"),
        ("--lam 1 --strategy best", "'best'"),
        ("--lam 1 --schedule sine", "scaled-linear"),
        ("--lam 1 --reference data", "choose 'teacher' or 'flow'"),
        ("--lam 1 --budget half", "choose one of merge, total"),
        ("--lam 1 --method guess", "choose one of auto"),
        ("--lam 1 --steps 12 --method exhaustive", "takes T ≤ 9"),
        ("--spectrum lam.npy --method interval", "use 'pareto'"),
        ("--lam 1 --student-steps 9", "K = 9: must be a whole number within 1 … 8"),
        ("--lam 1 --student-steps 0", "K = 0"),
        ("--lam 1 --cuts 2,x", "'2,x': write levels and commas"),
        ("--lam 1 --cuts 4,2", "ascending"),
        ("--lam 1 --cuts 8", "a cut = 8"),
        ("--lam 1 --cuts 2,4 --student-steps 2", "K = 2 steps needs 1"),
        ("--lam 1 --lines 0", "lines = 0"),
        ("--lam 1 --plot arcs.doc", "must end in .png, .svg, .pdf"),
        ("--lam 1 --plot none/arcs.svg", "no folder 'none'"),
        ("--lam 1 --plot folder.svg", "is a folder"),
        ("--lam 1 --steps 1 --plot arcs.svg", "steps = 1"),
        ("--spectrum none.npy", "cannot read 'none.npy'"),
        ("--spectrum folder.svg", "no regular file"),
        ("--spectrum text.npy", "no .npy file of numbers"),
        ("--spectrum cut.npy", "no .npy file of numbers"),
        ("--spectrum pickled.npy", "no .npy file of numbers"),
        ("--spectrum nan.npy", "λ = nan"),
        ("--spectrum nan2.npy", "NaN"),
        ("--spectrum negative.npy", "λ = -1"),
        ("--spectrum complex.npy", "complex128"),
        ("--spectrum words.npy", "<U1"),
        ("--spectrum empty.npy", "shape (0,)"),
        ("--spectrum one.npy", "two samples, in rows"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tdm, arguments, says):
    arrays = {
        "lam": [0.5, 1.5], "nan": [1, np.nan], "nan2": [[1, np.nan]] * 3, "negative": [1.0, -1],
        "complex": [1j], "words": ["a"], "empty": [], "one": [[1.0, 2]],
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(name, array)
    np.save("pickled.npy", np.array([None, 1]), allow_pickle=True)
    Path("cut.npy").write_bytes(Path("lam.npy").read_bytes()[:-4])
    Path("text.npy").write_text("not an array")
    Path("folder.svg").mkdir()
    before = sorted(os.listdir())
    status, out, error = tdm(*SMALL, *arguments.split())
    assert status == 2 and out == ""
    assert error.count("\n") == 1 and says in error, error
    assert sorted(os.listdir()) == before
