"""What a derivation is made of: symbols, asserted identities, and signs that carry a proof."""

import sympy as sp
from sympy.polys.fields import sfield

lam, s = sp.symbols("lambda s", positive=True)
x, z, gamma = sp.symbols("x z gamma", real=True)
alpha, sigma = sp.symbols("alpha_t sigma_t", positive=True)
alpha_, sigma_ = sp.symbols(r"\alpha_{t-1} \sigma_{t-1}", positive=True)

INNER = alpha_ * alpha * lam + sigma_ * sigma  # ⟨v_{t−1}, v_t⟩
V, V_ = sp.symbols(  # how the squared lengths are shown
    r"{\lVert{v_t}\rVert^2} {\lVert{v_{t-1}}\rVert^2}", positive=True
)
LENGTHS = {V: alpha**2 * lam + sigma**2, V_: alpha_**2 * lam + sigma_**2}


def asserted(where=LENGTHS, simplify=sp.simplify, **sides: tuple) -> dict[str, sp.Eq]:
    """Each triple (LaTeX name, left, right) as "name = right", once left − right is zero.

    Abbreviations in `where` are written out for the check and stay in what is shown.
    """
    for name, (_, left, right) in sides.items():
        gap = simplify((left - right).subs(where))
        assert gap == 0, f"{name}: {left} ≠ {right}"
    return {
        name: sp.Eq(sp.Symbol(f"{{{shown}}}"), right, evaluate=False)
        for name, (shown, _, right) in sides.items()
    }


def certified(expression) -> sp.Expr:
    """A quotient of polynomials as an expression, once none of their coefficients is negative.

    Then it is ≥ 0 wherever its symbols are. Put x = 1/(1 + y) for 0 < x ≤ 1 and x = 1 + y for
    x ≥ 1, and the coefficients prove the sign. An element of a SymPy field of fractions is taken
    too: arithmetic there is a thousand times faster.
    """
    quotient = sfield(expression)[1] if isinstance(expression, sp.Basic) else expression
    coefficients = quotient.numer.coeffs() + quotient.denom.coeffs()
    assert all(c >= 0 for c in coefficients), f"the sign of {expression} is not certain"
    return quotient.as_expr()


def simplify_trigonometric(expression: sp.Expr) -> sp.Expr:
    """Rational in p = e^{iφ/2} for each angle φ, so that zero is decidable."""
    halves = {angle: 2 * sp.log(sp.Symbol(f"p{k}")) / sp.I
              for k, angle in enumerate(sorted(expression.free_symbols, key=str))}  # fmt: skip
    exponentials = expression.rewrite(sp.exp).subs(halves)
    return sp.simplify(sp.powsimp(sp.expand_power_exp(exponentials.rewrite(sp.exp))))
