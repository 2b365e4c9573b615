import inspect

import numpy as np
import pytest
import sympy as sp

from tdmlib.linear import symbolic

DERIVATIONS = [
    symbolic.optimal_denoiser,
    symbolic.ddim_step,
    symbolic.contraction,
    symbolic.student_flow,
    symbolic.merge_identity,
    symbolic.step_below_one,
    symbolic.cosine_boundaries,
]


@pytest.mark.parametrize("derive", DERIVATIONS, ids=lambda f: f.__name__)
def test_each_derivation_returns_true_equations(derive, monkeypatch):
    """By numbers instead of simplification: both sides agree wherever they are evaluated."""
    checked, assert_for_real = [], symbolic.asserted

    def spy(where=symbolic.LENGTHS, simplify=sp.simplify, **sides):
        checked.extend((where, left, right) for _, left, right in sides.values())
        return assert_for_real(where, simplify, **sides)

    monkeypatch.setattr(symbolic, "asserted", spy)
    identities = derive()
    assert len(identities) == len(checked) > 0
    rng = np.random.default_rng(0)
    for where, *sides in checked:
        sides = [side.subs(where) for side in sides]
        symbols = sorted(sides[0].free_symbols | sides[1].free_symbols, key=str)
        for _ in range(5):
            values = dict(zip(symbols, rng.uniform(0.2, 0.6, len(symbols)), strict=True))
            left, right = (complex(side.subs(values)) for side in sides)
            assert abs(left - right) < 1e-9 * (1 + abs(right))


@pytest.mark.parametrize("derive", DERIVATIONS, ids=lambda f: f.__name__)
def test_names_are_printed_as_they_were_written(derive):
    for equation in derive().values():
        assert sp.latex(equation.lhs) == equation.lhs.name
        for symbol in equation.free_symbols:
            plain = sp.latex(symbol).replace("{", "").replace("}", "").lstrip("\\")
            assert plain == symbol.name.replace("{", "").replace("}", "").lstrip("\\")


def test_every_public_derivation_is_tested():
    public = {f for n, f in inspect.getmembers(symbolic, inspect.isfunction)
              if not n.startswith("_") and n != "asserted"}  # fmt: skip
    assert public == set(DERIVATIONS)


def test_a_false_identity_is_not_asserted():
    with pytest.raises(AssertionError, match="wrong"):
        symbolic.asserted(wrong=("V", symbolic.V, symbolic.V + symbolic.lam))
