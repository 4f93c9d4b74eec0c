"""What a sign, a sum, a product, a quotient and a mixed number make of parsed nodes: numbers, vectors, matrices."""

from fractions import Fraction

from lte_jax.host.answers.exact import rational
from lte_jax.host.answers.syntax import Node, TooLarge, Unreadable, bounded, is_inexact, scalar

_MAX_DETERMINANT = 5  # 120 products
_MAX_PRODUCTS = 216  # of two matrices: six by six
_TRANSPOSE = ("T", "top", "intercal", "'", "t")
_TWO = Node("num", value=Fraction(2))


_MINUS_ONE = Node("num", value=Fraction(-1))


def negate(term: Node) -> Node:
    if term.op == "num":
        return Node("num", value=-term.value, inexact=term.inexact)
    if term.op == "unit":
        return Node("unit", (negate(*term.args),), term.value)
    if not term.scalar:
        return scale(_MINUS_ONE, term)
    return Node("neg", (term,))


def total(terms: list[Node]) -> Node:
    """A sum of numbers, or of matrices or vectors of one size, entry by entry."""
    if len(terms) == 1:
        return terms[0]
    if all(term.scalar for term in terms):
        return Node("add", tuple(terms))
    first = terms[0]
    alike = all((term.op, term.value, len(term.args)) == (first.op, first.value, len(first.args)) for term in terms)
    if not alike or not _is_array(first):
        raise Unreadable("a sum of things that are not numbers")
    columns = zip(*(term.args for term in terms), strict=True)
    return Node(first.op, tuple(map(total, map(list, columns))), first.value)


def _is_array(node: Node) -> bool:
    return node.op == "matrix" or (node.op == "tuple" and node.value == "()" and all(part.scalar for part in node.args))


def scale(left: Node, right: Node) -> Node:
    """A product of numbers, of a number and a matrix or vector, or of two matrices."""
    if right.op in ("pct", "deg") and left.scalar:
        return Node(right.op, (scale(left, right.args[0]),))  # the sign stands behind the whole product
    if left.scalar and right.scalar:
        return Node("mul", (*left.args, right) if left.op == "mul" else (left, right))
    if left.op == right.op == "matrix":
        return _matrix_product(left, right)
    array, factor = (left, right) if right.scalar else (right, left)
    if not factor.scalar or not _is_array(array):
        raise Unreadable("a product of things that are not numbers")
    return Node(array.op, tuple(scale(factor, part) for part in array.args), array.value)


def rows_of(matrix: Node) -> list[list[Node]]:
    n_rows, n_columns = matrix.value
    return [list(matrix.args[row * n_columns : (row + 1) * n_columns]) for row in range(n_rows)]


def _matrix(rows: list[list[Node]]) -> Node:
    return Node("matrix", tuple(part for row in rows for part in row), (len(rows), len(rows[0])))


def _matrix_product(left: Node, right: Node) -> Node:
    if left.value[1] != right.value[0]:
        raise Unreadable(f"a product of matrices of {left.value} and {right.value} rows and columns")
    if left.value[0] * left.value[1] * right.value[1] > _MAX_PRODUCTS:
        raise TooLarge(f"a product of matrices of more than {_MAX_PRODUCTS} parts")
    columns = list(zip(*rows_of(right), strict=True))
    return _matrix([[_entry(total(list(map(scale, row, column)))) for column in columns] for row in rows_of(left)])


def quotient(top: Node, bottom: Node) -> Node:
    if not bottom.scalar:
        raise Unreadable("a division by something that is not a number")
    if _is_array(top):
        return Node(top.op, tuple(Node("div", (part, bottom)) for part in top.args), top.value)
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
    return _entry(Node("add", tuple(terms)))


def _entry(node: Node) -> Node:
    """Its value, if it is rational: else products of products would have parts without number."""
    value = None if is_inexact(bounded(node)) else rational(node)
    return node if value is None else Node("num", value=value)


def matrix_power(node: Node, exponent: str) -> Node:
    """A transpose; the inverse or a small power of a matrix. A tuple counts as a row."""
    if exponent in _TRANSPOSE and node.op in ("matrix", "tuple"):
        rows = rows_of(node) if node.op == "matrix" else [list(node.args)]
        return _matrix([list(column) for column in zip(*rows, strict=True)])
    if node.op != "matrix" or exponent not in ("-1", "2", "3"):
        raise Unreadable(f"{node.op} to the power {exponent!r}")
    if exponent == "-1":
        return _inverse(rows_of(node))
    power = node
    for _ in range(int(exponent) - 1):
        power = _matrix_product(power, node)
    return power


def _inverse(rows: list[list[Node]]) -> Node:
    """The adjugate over the determinant."""
    bottom = determinant(rows)
    if rational(bottom) == 0:
        raise Unreadable("a matrix without an inverse")
    if len(rows) == 1:
        return _matrix([[Node("div", (Node("num", value=Fraction(1)), bottom))]])
    places = range(len(rows))
    return _matrix([[Node("div", (_cofactor(rows, row, column), bottom)) for row in places] for column in places])


def _cofactor(rows: list[list[Node]], row: int, column: int) -> Node:
    minor = determinant([other[:column] + other[column + 1 :] for at, other in enumerate(rows) if at != row])
    return Node("neg", (minor,)) if (row + column) % 2 else minor


def norm(inner: Node, bars: str) -> Node:
    """Between | |, of a matrix the determinant; between || ||, of a vector the length; of a number what | | says."""
    if inner.scalar:
        return Node("fn", (inner,), "abs")
    if bars == "|" and inner.op == "matrix" and inner.value[0] == inner.value[1]:
        return determinant(rows_of(inner))
    if not _is_array(inner) or (inner.op == "matrix" and 1 not in inner.value):
        raise Unreadable("bars around something that is neither a number nor a vector")
    return Node("fn", (Node("add", tuple(Node("pow", (part, _TWO)) for part in inner.args)),), "sqrt")


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
