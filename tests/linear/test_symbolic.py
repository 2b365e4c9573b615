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
def test_each_derivation_returns_true_equations(derive):
    identities = derive()
    assert identities and all(isinstance(e, sp.Eq) for e in identities.values())
    rng = np.random.default_rng(0)
    for equation in identities.values():
        symbols = sorted(equation.free_symbols, key=str)
        if str(equation.lhs) in {str(s) for s in symbols}:
            continue  # a definition: symbol = formula
        for _ in range(5):
            values = dict(zip(symbols, rng.uniform(0.2, 0.6, len(symbols)), strict=True))
            left, right = (complex(side.subs(values)) for side in (equation.lhs, equation.rhs))
            assert abs(left - right) < 1e-9 * (1 + abs(right))


def test_every_public_derivation_is_tested():
    public = {f for n, f in inspect.getmembers(symbolic, inspect.isfunction)
              if not n.startswith("_") and n != "asserted"}  # fmt: skip
    assert public == set(DERIVATIONS)


def test_a_false_identity_is_not_asserted():
    with pytest.raises(AssertionError, match="wrong"):
        symbolic.asserted(wrong=(symbolic.V, symbolic.V + symbolic.lam))
