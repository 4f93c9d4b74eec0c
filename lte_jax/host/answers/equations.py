"""Equations and inequalities as trees: which side is the name, what is bound, what is defined."""

from lte_jax.host.answers.syntax import Node, symbols

_INEQUALITIES = frozenset({"<", ">", "<=", ">=", "!="})


def names(node: Node) -> frozenset[str] | None:
    """What equations give values to: {x} for `x = 1 or x = 2`, {x, y} for `x = 1, y = 2`; None for anything else."""
    if node.op == "list":
        found = [names(part) for part in node.args]
        return frozenset().union(*found) if None not in found else None
    node = oriented(node)
    if not is_equation(node):
        return None
    left = node.args[0]
    parts = left.args if left.op == "tuple" else (left,)
    if not all(part.op in ("sym", "text") for part in parts):
        return None
    return frozenset(part.value.partition("_")[0] for part in parts)


def is_name(node: Node) -> bool:
    """Something that an equation may define: x, f(x), f(3), (x, y), a word, a segment AB, an angle ABC."""
    if node.op == "tuple":
        return all(part.op == "sym" for part in node.args)
    if node.op in ("sym", "call", "text"):
        return True
    if node.op == "ratio":
        return all(part.op in ("sym", "text") for part in node.args)
    if node.op == "fn" and node.value == "abs":
        return node.args[0].op == "mul" and is_name(node.args[0])
    if node.op != "mul" or node.args[0].op != "sym":
        return False
    points = [part for part in node.args if part.value not in ("angle", "triangle", "m", "overline", "measuredangle")]
    is_figure = all(part.op == "sym" and part.value[0].isupper() for part in points)
    return is_figure or (len(node.args) == 2 and node.args[1].op == "num")


def is_equation(node: Node) -> bool:
    return node.op == "rel" and node.value == ("=",)


def oriented(node: Node) -> Node:
    """An equation with the name on the left; of a chain a = b = c the two ends."""
    if node.op != "rel" or set(node.value) != {"="}:
        return node
    left, right = node.args[0], node.args[-1]
    if is_name(right) and not is_name(left) and not symbols(left):
        left, right = right, left
    return Node("rel", (left, right), ("=",))


def is_definition(node: Node) -> bool:
    """x = 5, f(x) = 2x, AB = 5, but not x = x + 1."""
    return is_equation(node) and is_name(node.args[0]) and not symbols(node.args[0]) & _own(node)


def _own(node: Node) -> set[str]:
    """Symbols of the right side, less the variable of a function on the left."""
    left, right = node.args
    return symbols(right) - ({part.value for part in left.args} if left.op == "call" else set())


def is_inequality(node: Node) -> bool:
    return node.op == "rel" and set(node.value) <= _INEQUALITIES


def bound_name(node: Node) -> str | None:
    """The x of x > 2 and x in [1, 2]."""
    if node.op == "list":
        names = {bound_name(part) for part in node.args}
        return names.pop() if len(names) == 1 else None
    sides = node.args[:1] if node.op == "in" else node.args if is_inequality(node) else ()
    names = [side.value for side in sides if side.op == "sym"]
    return names[0] if len(names) == 1 else None
