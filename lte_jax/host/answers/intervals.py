"""Sets of numbers as sorted pieces with exact ends, so that unions, intersections and differences have one form."""

from fractions import Fraction

from lte_jax.host.answers.exact import infinity, rational
from lte_jax.host.answers.syntax import INFINITY, MINUS_INFINITY, REALS, Node

End = tuple[float | Fraction, int]  # a point and whether just below (-1), at (0) or just above it (1) is meant
Pieces = list[tuple[End, End]]  # from the first up to the last, both included
_LOWEST, _HIGHEST = (float("-inf"), 1), (float("inf"), -1)


def pieces(node: Node) -> Pieces | None:
    """None for what is no set of numbers with rational ends."""
    if node.op == "tuple" and len(node.args) == 2 and node.value in ("()", "[]", "[)", "(]"):
        low, high = map(_point, node.args)
        if low is None or high is None or low > high:
            return None
        found = (low, 0 if node.value[0] == "[" else 1), (high, 0 if node.value[1] == "]" else -1)
        return [found] if found[0] <= found[1] else []
    if node.op == "set":
        points = [rational(part) if part.scalar else None for part in node.args]
        return None if None in points else _merged([((point, 0), (point, 0)) for point in points])
    if node.op not in ("union", "inter", "minus"):
        return None
    parts = [pieces(part) for part in node.args]
    if None in parts:
        return None
    if node.op == "union":
        return _merged([piece for part in parts for piece in part])
    first = parts[0]
    for other in parts[1:]:
        first = common(first, complement(other) if node.op == "minus" else other)
    return first


def _point(node: Node) -> float | Fraction | None:
    if sign := infinity(node):
        return sign * float("inf")
    return rational(node) if node.scalar else None


def _next(end: End) -> End:
    """The end that follows without a gap: just below 1, 1, just above 1."""
    return end[0], end[1] + 1


def _merged(found: Pieces) -> Pieces:
    result: Pieces = []
    for low, high in sorted(found):
        if result and low <= _next(result[-1][1]):
            result[-1] = result[-1][0], max(high, result[-1][1])
        else:
            result.append((low, high))
    return result


def common(left: Pieces, right: Pieces) -> Pieces:
    """The intersection."""
    pairs = [(max(a[0], b[0]), min(a[1], b[1])) for a in left for b in right]
    return _merged([pair for pair in pairs if pair[0] <= pair[1]])


def complement(found: Pieces) -> Pieces:
    """In the reals."""
    result, low = [], _LOWEST
    for begin, end in found:
        below = begin[0], begin[1] - 1
        if low <= below:
            result.append((low, below))
        low = _next(end)
    return [*result, (low, _HIGHEST)] if low <= _HIGHEST else result


def simplified(node: Node) -> Node:
    """The one form of a union, intersection or difference; the node itself where its ends are not rational."""
    found = pieces(node) if node.op in ("union", "inter", "minus") else None
    if found is None:
        return node
    points = tuple(Node("num", value=low[0]) for low, high in found if low == high)
    parts = [_interval(low, high) for low, high in found if low != high]
    if points or not parts:
        parts.append(Node("set", points))
    return parts[0] if len(parts) == 1 else Node("union", tuple(parts))


def _interval(low: End, high: End) -> Node:
    if (low, high) == (_LOWEST, _HIGHEST):
        return REALS
    ends = [
        MINUS_INFINITY if value == float("-inf") else INFINITY if value == float("inf") else Node("num", value=value)
        for value, _ in (low, high)
    ]
    return Node("tuple", tuple(ends), ("(" if low[1] else "[") + (")" if high[1] else "]"))
