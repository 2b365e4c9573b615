from itertools import product

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from tdmlib import plots
from tdmlib.linear import STRATEGIES, canonical_plan, compare, step_operators
from tdmlib.schedules import cosine

mpl.use("agg")


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_every_strategy_and_method_keeps_a_colour_of_its_own():
    named = ["data", "teacher", *STRATEGIES, "tdm"]
    assert len({plots.COLORS[name] for name in named}) == len(named)
    assert plots.COLORS["TDM, 4 steps"] == plots.COLORS["tdm"]


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_arc_spans_each_merge_and_is_darker_than_those_it_waits_for(name):
    plan = canonical_plan(name, 8)
    (ax,) = plots.merge_arcs({name: plan}).axes
    arcs = [line for line in ax.lines if len(line.get_xdata()) > 20]
    ends = [(round(min(a.get_xdata())), round(max(a.get_xdata()))) for a in arcs]
    assert ends == plan.merges
    shade = {end: arc.get_alpha() for end, arc in zip(ends, arcs, strict=True)}
    assert shade[0, 8] == 1
    for (i, j), (k, m) in product(ends, ends):
        if i <= k and m <= j and (i, j) != (k, m):
            assert shade[i, j] > shade[k, m]
    if name == "progressive":
        assert len({shade[i, j] for i, j in ends if j - i == 2}) == 1


def test_the_projection_in_the_ellipse_is_the_operator():
    for ax, lam in zip(plots.ellipse(cosine(8), (0.3, 3.0), t=4).axes, (0.3, 3.0), strict=True):
        (foot,) = (line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o")
        v = np.array([cosine(8).alpha[4] * np.sqrt(lam), cosine(8).sigma[4]])
        assert np.allclose(foot, step_operators(cosine(8), lam)[3] * v)


def test_the_grid_puts_images_row_by_row():
    images = np.arange(12)[:, None, None, None] / 12 * np.ones((12, 1, 3, 3))
    (ax,) = plots.sample_grid({"x": images}, columns=4).axes
    (shown,) = ax.images
    assert np.allclose(np.squeeze(shown.get_array())[1::4, 1::4], np.arange(12).reshape(3, 4) / 12)
    colors = np.array([[-1, 0, 3.0], [1, -1, -1]])[..., None, None] * np.ones((2, 3, 3, 3))
    (ax,) = plots.sample_grid({"x": colors}, columns=2).axes
    assert np.allclose(ax.images[0].get_array()[1, 1::4], [[0, 0.5, 1], [1, 0, 0]])


def test_labels_at_the_end_of_curves_do_not_overlap():
    lams = np.geomspace(0.1, 10, 5)
    curves = dict.fromkeys(STRATEGIES, np.ones(5))
    (ax,) = plots.curves_over_lambda(lams, curves, "error").axes
    heights = sorted(text.xy[1] for text in ax.texts)
    assert np.diff(heights).min() > 0.07


def test_distances_and_curves_show_what_they_are_given():
    teacher = {1: 20.0, 2: 7.0, 25: 1.4}
    (ax,) = plots.distance_over_steps(teacher, {"TDM, 4 steps": (4, [1.2, 1.1])}, 0.9, "d").axes
    assert ax.lines[0].get_xydata().tolist() == [[1, 20], [2, 7], [25, 1.4]]
    assert ax.lines[1].get_xydata().tolist() == [[4, 1.2], [4, 1.1]]
    flow, runs = np.array([1.0, 0.5]), np.array([[1.0, 0.4], [1.0, 0.6]])
    (ax,) = plots.training_decay([0, 1], {"λ = 1": (flow, np.array([0, 0.1]), runs)}, "left").axes
    assert [line.get_ydata().tolist() for line in ax.lines] == [*runs.tolist(), flow.tolist()]
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert np.isclose([band.min(), band.max()], [0.5 * np.exp(-0.2), 1]).all()
    (ax,) = plots.training_curves({"loss": [[[1, 3.0], [2, 2.0]]]}, {"loss": "loss"}).axes
    assert ax.lines[0].get_xydata().tolist() == [[1, 3], [2, 2]]


def test_the_map_has_the_colour_of_the_strategy_that_loses_least():
    lams, times = np.geomspace(0.1, 20, 24), np.geomspace(0.1, 5, 10)
    found = compare(cosine(6), lams, times[:, None])
    (ax,) = plots.strategy_map(lams, times, {"teacher": found}).axes
    mesh = ax.collections[0]
    shown = mesh.cmap(mesh.norm(mesh.get_array().astype(int)))
    expected = [
        [mpl.colors.to_rgba(plots.COLORS[STRATEGIES[k]]) for k in row] for row in found.best
    ]
    assert np.allclose(shown, expected)
    assert {text.get_text() for text in ax.texts} >= {"vanilla", "seq. BOOT"}


def test_steps_and_cuts_are_where_they_were_put():
    curve = {1: 0.4, 2: 0.3, 4: 0.1}
    (ax,) = plots.loss_over_steps({("x", "vanilla", "--"): curve}, "loss").axes
    assert np.array_equal(ax.lines[0].get_xydata(), list(curve.items()))
    cuts = {1: (), 2: (3,), 3: (2, 5)}
    (ax,) = plots.cuts_over_steps({"λ": cuts}, 8).axes
    dots = [tuple(xy) for line in ax.lines if line.get_marker() == "o" for xy in line.get_xydata()]
    assert dots == [(level, K) for K, levels in cuts.items() for level in levels]


def test_the_range_is_a_band_around_the_teachers_line():
    lams, low, high = np.geomspace(0.1, 10, 5), np.full(5, -2e-7), np.full(5, 1e-6)
    (ax,) = plots.range_over_lambda(lams, low, high, {"vanilla": high / 2}, {"here": 2.0}).axes
    corners = ax.collections[0].get_paths()[0].get_extents()
    assert np.allclose((corners.x0, corners.x1, corners.y0, corners.y1), (0.1, 10, -2e-7, 1e-6))
    teacher, vanilla, mark = (line.get_xydata() for line in ax.lines)
    assert (teacher[:, 1] == 0).all() and np.allclose(vanilla, np.c_[lams, high / 2])
    assert (mark[:, 0] == 2).all()
    names = {text.get_text() for text in ax.texts}
    assert names == {"here", "teacher", "vanilla", "all plans"} and ax.get_xscale() == "log"
    (ax,) = plots.range_over_lambda(lams[2:4], low[:2], high[:2], {}, {"elsewhere": 9.0}).axes
    names = {text.get_text() for text in ax.texts}  # a mark outside the axes is left out
    assert names == {"teacher", "all plans"} and ax.get_xscale() == "linear"


def test_spectra_lie_on_bands_that_meet_at_the_boundaries():
    lam = np.array([0.5, 0.0, 5.0])
    (ax,) = plots.spectra_in_phases({"x": {"mine": (lam, "o")}}, (1.0, 2.0)).axes
    assert ax.lines[0].get_xydata().tolist() == [[1, 5], [2, 0.5]]  # sorted, without zeros
    edges = [(band.get_y(), band.get_y() + band.get_height()) for band in ax.patches]
    assert np.allclose(np.ravel(edges)[1:-1], [1, 1, 2, 2])
    assert np.allclose([edges[0][0], edges[-1][1]], ax.get_ylim())


def test_a_front_is_joined_in_order_of_the_first_error():
    errors = np.array([[3.0, 1], [1, 3], [2, 2], [3, 3]])
    (ax,) = plots.pareto_front(errors, [0, 1, 2], {"vanilla": 0}, ("a", "b")).axes
    assert ax.lines[0].get_xydata().tolist() == errors.tolist()
    assert ax.lines[1].get_xydata().tolist() == [[1, 3], [2, 2], [3, 1]]
    assert ax.texts[0].get_text() == "vanilla" and list(ax.texts[0].xy) == [3, 1]


def test_losses_and_jumps_mark_what_they_are_given():
    rows = {"a": {"vanilla": 0.2, "best": 0.1}, "b": {"vanilla": 0.4, "best": 0.3}}
    (ax,) = plots.losses(rows, "loss").axes
    assert [line.get_xydata()[0].tolist() for line in ax.lines] == [
        [0.2, 0], [0.1, 0], [0.4, 1], [0.3, 1],
    ]  # fmt: skip
    (ax,) = plots.jump_losses({"x": ([3.0, 1, 2], "-")}, "loss").axes
    dots = [(line.get_xydata()[0].tolist(), line.get_color()) for line in ax.lines[1:]]
    ends = [([0, 3], plots.COLORS["vanilla"]), ([2, 2], plots.COLORS["sequential_boot"])]
    assert dots == [([1, 1], plots.COLORS["tdm"]), *ends]
    curves = {"linear": ([1.0, 2], "teacher"), "network": ([0.5, 2], "tdm")}
    (ax,) = plots.denoising([0.1, 0.2], curves, "error").axes
    assert [line.get_ydata().tolist() for line in ax.lines] == [[1, 2], [0.5, 2]]


def test_curves_run_through_the_mean_of_their_seeds():
    values = [[1.0, 3.0], [10.0, 30.0]]
    for x, places in (([2, 7], [2, 7]), (["0.4", "∞"], [0, 1])):
        (ax,) = plots.spread_curves(x, {"vanilla": values}, "x", "y").axes
        assert np.allclose(ax.lines[0].get_xydata(), np.c_[places, [2, 20]])
        dots = [line.get_ydata().tolist() for line in ax.lines[1:]]
        assert dots == [[1, 10], [3, 30]]
        assert [label.get_text() for label in ax.get_xticklabels()] == [str(v) for v in x]
        assert [text.get_text() for text in ax.texts] == ["vanilla"]
    curves = {"measured": values, "proved": values}  # of one colour
    (ax,) = plots.spread_curves([2, 7], curves, "x", "y", {"proved": ":"}).axes
    faces = [line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o"]
    assert faces[:2] != faces[2:] == ["none", "none"]


def test_matching_figures_show_what_they_are_given():
    times, flow = [0.0, 1.0], np.array([0.5, 1.0])
    (ax,) = plots.matching_paths(times, {"t = 0": (flow, np.array([flow + 0.1]))}, "ratio").axes
    assert [line.get_ydata()[-1] for line in ax.lines] == [1, 1.1, 1.0]
    assert [text.get_text() for text in ax.texts] == ["t = 0"]
    rows = {row: {"x": {"TDM, 1 step": [0.1, k]}, "y": {}} for k, row in ((0.2, "a"), (0.3, "b"))}
    axes = np.reshape(plots.race([1, 2], rows, {"TDM, 1 step": "-"}).axes, (2, 2))
    assert [ax.texts[0].get_text() for ax in axes[:, 0]] == ["a", "b"]
    assert [ax.lines[0].get_ydata()[-1] for ax in axes[:, 0]] == [0.2, 0.3]
    assert [ax.get_title() for ax in axes[0]] == ["x", "y"] and not axes[0, 1].lines
    (ax,) = plots.level_curves(
        [0, 1], {"a": [1, 2], "b": [3, 4]}, "x", "y", {"½": 0.5}, {"b": ([0.2], [3.2])}, log=True
    ).axes
    a, b, dots, mark = (line.get_xydata().tolist() for line in ax.lines)
    assert (a, b, dots) == ([[0, 1], [1, 2]], [[0, 3], [1, 4]], [[0.2, 3.2]])
    assert mark[0][0] == 0.5 and ax.get_yscale() == "log" and "log" in ax.get_ylabel()
    path = np.array([[0.1, 0.2], [1.0, 1.0]])
    (ax,) = plots.fixed_line([path], [(0, 2), (2, 0)], (1, 1), ("x", "y")).axes
    ends = [line.get_xydata().tolist() for line in ax.lines]
    assert ends == [[[0, 2], [2, 0]], path.tolist(), [[0.1, 0.2]], [[1, 1]], [[1, 1]]]
