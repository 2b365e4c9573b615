import inspect

import numpy as np
import pytest
import sympy as sp

import strategies
from tdmlib.linear import (
    canonical_plan,
    evaluate,
    phase_boundaries,
    residual,
    step_operators,
    symbolic,
)
from tdmlib.linear.symbolic import identities
from tdmlib.schedules import Schedule, cosine, flow_matching, linear_beta

EACH = pytest.mark.parametrize("derive", symbolic.DERIVATIONS, ids=lambda f: f.__name__)


@EACH
def test_each_derivation_returns_true_equations(derive, monkeypatch):
    """By numbers instead of simplification: both sides agree wherever they are evaluated."""
    checked, assert_for_real = [], symbolic.asserted

    def spy(where=identities.LENGTHS, simplify=sp.simplify, **sides):
        checked.extend((where, left, right) for _, left, right in sides.values())
        return assert_for_real(where, simplify, **sides)

    monkeypatch.setattr(inspect.getmodule(derive), "asserted", spy)
    found = derive()
    assert len(found) == len(checked) > 0
    rng = np.random.default_rng(0)
    for where, *sides in checked:
        sides = [sp.sympify(side).subs(where) for side in sides]
        symbols = sorted(sides[0].free_symbols | sides[1].free_symbols, key=str)
        for _ in range(5):
            values = dict(zip(symbols, rng.uniform(0.2, 0.6, len(symbols)), strict=True))
            left, right = (complex(side.subs(values)) for side in sides)
            assert abs(left - right) < 1e-9 * (1 + abs(right))


@EACH
def test_names_are_printed_as_they_were_written(derive):
    for equation in derive().values():
        assert sp.latex(equation.lhs) == equation.lhs.name
        for symbol in equation.free_symbols:
            plain = sp.latex(symbol).replace("{", "").replace("}", "").lstrip("\\")
            assert plain == symbol.name.replace("{", "").replace("}", "").lstrip("\\")


def test_every_public_derivation_is_tested():
    modules = {inspect.getmodule(f) for f in symbolic.DERIVATIONS}
    public = {f for module in modules for f in vars(module).values()
              if inspect.isfunction(f) and f.__module__ == module.__name__
              and not f.__name__.startswith("_") and f.__name__ != "f"}  # fmt: skip
    assert public == set(symbolic.DERIVATIONS)


def test_a_false_identity_is_not_asserted():
    V = identities.V
    with pytest.raises(AssertionError, match="wrong"):
        symbolic.asserted(wrong=("V", V, V + identities.lam))


def test_a_sign_is_not_certified_where_it_changes():
    y = sp.Symbol("y", positive=True)
    assert symbolic.certified((y**2 + 1) / (y + 2)) == (y**2 + 1) / (y + 2)
    for expression in (y - 1, 1 / (y - 1), 1 - y**2 / (1 + y)):
        with pytest.raises(AssertionError, match="sign"):
            symbolic.certified(expression)


@pytest.mark.parametrize("T", [2, 3, 4])
@pytest.mark.parametrize("budget", ["merge", "total"])
@pytest.mark.parametrize("phase", ["below", "above"])
def test_certificates_are_the_excess_of_every_plan(phase, budget, T):
    """Their values against `evaluate`, at one uneven schedule in each phase."""
    angles = np.linspace(0, 1, T + 1) ** 1.3 * np.pi / 2
    schedule = Schedule(np.clip(np.cos(angles), 0, 1), np.sin(angles))
    boot, van = phase_boundaries(schedule)
    lam, s, total = 0.7 * boot if phase == "below" else 2 * van, 0.4, budget == "total"
    A, A_T = step_operators(schedule, lam)[:-1], step_operators(schedule, lam)[-1]
    y = 1 / A - 1 if phase == "below" else A - 1
    best = canonical_plan("vanilla" if total or phase == "above" else "sequential_boot", T)
    certificates = symbolic.certificates(phase, T, budget)
    assert list(certificates) == strategies.PLANS[T]
    for plan, quotient in certificates.items():
        share = s / len(plan.merges) if total else s
        g = 1 / residual(schedule, lam, share) - 1
        values = {f"y_{j}": value for j, value in enumerate(y, 1)}
        values |= {f"g_{i}{j}": g[j - 1] for j in range(1, T + 1) for i in ("", *range(j))}
        reached = share * sum(j == T for _, j in plan.merges) if total else s
        excess = evaluate(plan, schedule, lam, share) - evaluate(best, schedule, lam, reached)
        found = float(quotient.subs({k: values[str(k)] for k in quotient.free_symbols}))
        assert np.isclose(found, abs(excess) / A_T, rtol=1e-9, atol=1e-13)


def test_the_wrong_best_plan_gets_no_certificate(monkeypatch):
    wrong = {"vanilla": "sequential_boot", "sequential_boot": "vanilla"}
    module = inspect.getmodule(symbolic.certificates)
    monkeypatch.setattr(module, "canonical_plan", lambda name, T: canonical_plan(wrong[name], T))
    for phase in ("below", "above"):
        with pytest.raises(AssertionError, match="sign"):
            symbolic.certificates(phase, 3)


def test_the_derived_levels_are_the_extremes_of_flow_matching():
    found = symbolic.flow_matching_boundaries()
    forms = {name: sp.lambdify(sp.Symbol("T", positive=True), found[name].rhs)
             for name in ("odd", "even", "first")}  # fmt: skip
    for T in [*range(3, 60), 1000, 1001]:
        boot, van = phase_boundaries(flow_matching(T))
        assert np.isclose(boot, forms["odd" if T % 2 else "even"](T), rtol=1e-12)
        assert np.isclose(van, forms["first"](T), rtol=1e-12)


@pytest.mark.parametrize(("family", "least"), [(cosine, np.pi / 2), (flow_matching, 2.0)])
def test_the_lower_boundary_falls_to_one_like_the_least_turn(family, least):
    """T (λ_BOOT − 1) tends to the least dθ/du / sin 2θ over the schedule."""
    off = [T * (phase_boundaries(family(T))[0] - 1) / least - 1 for T in (1000, 4000)]
    assert np.isclose(off[0] / off[1], 4, rtol=0.01) and abs(off[0]) < 0.01


def test_the_first_step_bounds_the_upper_boundary():
    for schedule in (cosine(7), flow_matching(9)):
        assert phase_boundaries(schedule)[1] >= (1 + 1 / schedule.alpha[1]) * (1 - 1e-14)
    whole = linear_beta()
    assert np.isclose(phase_boundaries(whole)[1], 1 + 1 / whole.alpha[1], rtol=1e-12)
    noisy_start = whole.sub(range(1, 1001, 10))
    near = 2 / (1 + noisy_start.sigma[0] / noisy_start.sigma[1])
    van = phase_boundaries(noisy_start)[1]
    assert f"{van:.2f}" == "1.65" and np.isclose(van, near, rtol=1e-2)
