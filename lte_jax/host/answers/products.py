"""What a sign, a product, a quotient and a mixed number make of parsed nodes. Nothing is evaluated."""

from fractions import Fraction

from lte_jax.host.answers.syntax import Node, Unreadable, scalar

_MAX_DETERMINANT = 5  # 120 products


def negate(term: Node) -> Node:
    if term.op == "num":
        return Node("num", value=-term.value, inexact=term.inexact)
    if not term.scalar:
        return scale(Node("num", value=Fraction(-1)), term)
    return Node("neg", (term,))


def scale(left: Node, right: Node) -> Node:
    """A product; one factor may be a matrix, which is multiplied entry by entry."""
    if right.op in ("pct", "deg") and left.scalar:
        return Node(right.op, (scale(left, right.args[0]),))  # the sign stands behind the whole product
    if left.scalar and right.scalar:
        return Node("mul", (*left.args, right) if left.op == "mul" else (left, right))
    matrix, factor = (left, right) if left.op == "matrix" else (right, left)
    if matrix.op != "matrix" or not factor.scalar:
        raise Unreadable("a product of things that are not numbers")
    return Node("matrix", tuple(Node("mul", (factor, part)) for part in matrix.args), matrix.value)


def quotient(top: Node, bottom: Node) -> Node:
    if not bottom.scalar:
        raise Unreadable("a division by something that is not a number")
    if top.op == "matrix":
        return Node("matrix", tuple(Node("div", (part, bottom)) for part in top.args), top.value)
    if bottom.op in ("pct", "deg"):
        return Node(bottom.op, (quotient(top, bottom.args[0]),))  # 1/2 % is half a percent
    return Node("div", (scalar(top), bottom))


def determinant(rows: list[list[Node]]) -> Node:
    """Written out along the first row. Raises Unreadable for what is not square."""
    if len(rows) != len(rows[0]) or len(rows) > _MAX_DETERMINANT:
        raise Unreadable(f"a determinant of {len(rows)} rows and {len(rows[0])} columns")
    if len(rows) == 1:
        return rows[0][0]
    terms = []
    for column, entry in enumerate(rows[0]):
        minor = determinant([row[:column] + row[column + 1 :] for row in rows[1:]])
        term = Node("mul", (entry, minor))
        terms.append(Node("neg", (term,)) if column % 2 else term)
    return Node("add", tuple(terms))


def transposed(node: Node, exponent: str) -> Node:
    """Of a matrix; a tuple counts as a row."""
    if exponent not in ("T", "top", "intercal", "'", "t") or node.op not in ("matrix", "tuple"):
        raise Unreadable(f"{node.op} to the power {exponent!r}")
    if node.op == "tuple":
        return Node("matrix", node.args, (len(node.args), 1))
    n_rows, n_columns = node.value
    parts = tuple(node.args[row * n_columns + column] for column in range(n_columns) for row in range(n_rows))
    return Node("matrix", parts, (n_columns, n_rows))


def is_proper(fraction: Node) -> bool:
    """1/2 or 1/2 percent, but neither 3/2 nor x/2."""
    inner = fraction.args[0] if fraction.op == "pct" else fraction
    parts = inner.args if inner.op == "div" else ()
    return len(parts) == 2 and all(part.op == "num" for part in parts) and 0 < parts[0].value < parts[1].value


def mixed(whole: Node, fraction: Node) -> Node:
    """1 1/2; the sign of 1 1/2 % stands behind both parts."""
    if fraction.op == "pct":
        return Node("pct", (Node("add", (whole, *fraction.args)),))
    return Node("add", (whole, fraction))
