"""Equations as polynomials: x y = 1 and y = 1/x have the same solutions, and that is decided exactly or not at all.

Runs in workers only.
"""

import sympy

_MAX_DEGREE = 12
_MAX_TERMS = 60  # of one polynomial; a common zero is looked for in smaller ones
_MAX_TERMS_OF_PAIR, _MAX_DEGREE_OF_PAIR = 12, 4


def same_zeros(left: sympy.Expr, right: sympy.Expr) -> bool | None:
    """Do `left = 0` and `right = 0` have the same solutions? None where one is no quotient of polynomials with rational
    coefficients, or is a large one. True only where it is certain: x^2 = 0 and x = 0 are held to be different."""
    names = sorted(left.free_symbols, key=str)
    fractions = [_fraction(side, names) for side in (left, right)]
    if not names or None in fractions:
        return None
    (top, bottom), (other_top, other_bottom) = fractions
    if top.is_zero or other_top.is_zero or top.monic() != other_top.monic():
        return False
    if bottom.monic() == other_bottom.monic():
        return True
    return all(part.is_ground or _never_both_zero(top, part) for part in (bottom, other_bottom))


def _fraction(expression: sympy.Expr, names: list[sympy.Symbol]) -> tuple[sympy.Poly, sympy.Poly] | None:
    """Numerator and denominator, without common factors."""
    if not expression.is_rational_function(*names) or expression.count_ops() > 300:
        return None
    powers = [part for part in expression.atoms(sympy.Pow) if part.base.free_symbols]
    if any(not part.exp.is_Integer or abs(part.exp) > _MAX_DEGREE for part in powers):
        return None
    top, bottom = sympy.fraction(sympy.cancel(sympy.together(expression)))
    try:
        parts = sympy.Poly(top, *names, domain="QQ"), sympy.Poly(bottom, *names, domain="QQ")
    except sympy.PolynomialError:  # a coefficient such as pi or a root
        return None
    except sympy.CoercionFailed:
        return None
    small = all(part.total_degree() <= _MAX_DEGREE and len(part.terms()) <= _MAX_TERMS for part in parts)
    return parts if small else None


def _never_both_zero(left: sympy.Poly, right: sympy.Poly) -> bool:
    """By a Groebner basis: it is 1 exactly where there is no common zero, complex ones counted. False if unsure."""
    for part in (left, right):
        if len(part.terms()) > _MAX_TERMS_OF_PAIR or part.total_degree() > _MAX_DEGREE_OF_PAIR:
            return False
    return sympy.groebner([left.as_expr(), right.as_expr()], *left.gens, domain="QQ").exprs == [1]
