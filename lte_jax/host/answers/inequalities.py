"""Inequalities as intervals: x > 2, 2 x > 4 and |x| < 2, and the reals without some points."""

from fractions import Fraction

from lte_jax.host.answers.equations import is_inequality, is_name
from lte_jax.host.answers.exact import rational
from lte_jax.host.answers.syntax import INFINITY, MINUS_INFINITY, REALS, Node, symbols

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


def interval(node: Node) -> Node:
    """An inequality in one name with plain ends as an interval; anything else as it is."""
    if node.op == "in" and is_name(node.args[0]):
        return node.args[1]
    if not is_inequality(node):
        return node
    sides, relations = node.args, node.value
    if len(sides) == 2:
        if not (sides[0].op == "sym" and rational(sides[1]) is not None):
            node = _solved(node)
            sides, relations = node.args, node.value
        if not is_name(sides[0]) and is_name(sides[1]):
            sides, relations = sides[::-1], (_FLIPPED[relations[0]],)
        if is_name(sides[0]) and sides[0].op not in ("mul", "fn") and len(symbols(sides[1])) < 2:
            return _half_line(relations[0], sides[1])
        if sides[0].op == "fn" and sides[0].value == "abs" and sides[0].args[0].op == "sym" and not symbols(sides[1]):
            return _around_zero(relations[0], sides[1])
        return _descending(node)
    if len(sides) == 3 and is_name(sides[1]):
        if relations[0] in (">", ">="):
            sides, relations = sides[::-1], (_FLIPPED[relations[1]], _FLIPPED[relations[0]])
        if all(relation in ("<", "<=") for relation in relations):
            brackets = ("[" if relations[0] == "<=" else "(") + ("]" if relations[1] == "<=" else ")")
            return Node("tuple", (sides[0], sides[2]), brackets)
    return node


def linear(node: Node) -> tuple[Fraction, Fraction, str | None] | None:
    """(a, b, x) of a x + b with rational a and b, x None where there is none; None for anything else."""
    if (value := rational(node)) is not None:
        return Fraction(0), value, None
    if node.op == "sym":
        return Fraction(1), Fraction(0), node.value
    parts = [linear(part) for part in node.args] if node.op in ("add", "neg", "mul", "div") else [None]
    if None in parts or len({part[2] for part in parts} - {None}) > 1:
        return None
    name = next((part[2] for part in parts if part[2]), None)
    if node.op == "add":
        return sum(part[0] for part in parts), sum(part[1] for part in parts), name
    if node.op == "neg":
        return -parts[0][0], -parts[0][1], name
    if node.op == "div":
        return (
            (parts[0][0] / parts[1][1], parts[0][1] / parts[1][1], name)
            if parts[1][2] is None and parts[1][1]
            else None
        )
    if sum(part[2] is not None for part in parts) != 1:
        return None
    factor = Fraction(1)
    for part in parts:
        factor *= part[1] if part[2] is None else 1
    inner = next(part for part in parts if part[2])
    return inner[0] * factor, inner[1] * factor, name


def _solved(node: Node) -> Node:
    """2x > 4 and -x < -2 as x > 2; anything else as it is."""
    found = linear(Node("add", (node.args[0], Node("neg", (node.args[1],)))))
    if found is None or not found[2] or not found[0]:
        return node
    relation = node.value[0] if found[0] > 0 else _FLIPPED[node.value[0]]
    return Node("rel", (Node("sym", value=found[2]), Node("num", value=-found[1] / found[0])), (relation,))


def _descending(node: Node) -> Node:
    """a < b as b > a."""
    if node.value[0] in ("<", "<="):
        return Node("rel", node.args[::-1], (_FLIPPED[node.value[0]],))
    return node


def _around_zero(relation: str, end: Node) -> Node:
    """|x| < 2 as (-2, 2); |x| > 2 as the union of two rays."""
    below = Node("neg", (end,))
    if relation in ("<", "<="):
        return Node("tuple", (below, end), "[]" if relation == "<=" else "()")
    if relation == "!=":
        return without(REALS, (below, end))
    rays = _half_line("<=" if relation == ">=" else "<", below), _half_line(relation, end)
    return Node("union", rays)


def _half_line(relation: str, end: Node) -> Node:
    if relation == "!=":
        return without(REALS, (end,))
    if relation in ("<", "<="):
        return Node("tuple", (MINUS_INFINITY, end), "(]" if relation == "<=" else "()")
    return Node("tuple", (end, INFINITY), "[)" if relation == ">=" else "()")


def without(whole: Node, points: tuple[Node, ...]) -> Node:
    """The reals without some points as a union of intervals, where the points can be put in order."""
    values = [rational(point) for point in points]
    if whole != REALS or (None in values and len(points) > 1):
        return Node("minus", (whole, Node("set", points)))
    ordered = [points[at] for at in sorted(range(len(points)), key=lambda at: values[at] or 0)]
    ends = [MINUS_INFINITY, *ordered, INFINITY]
    return Node("union", tuple(Node("tuple", pair, "()") for pair in zip(ends, ends[1:], strict=False)))
