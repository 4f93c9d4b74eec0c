"""One form for one answer: plus-minus written out, inequalities as intervals, equations with their name on the left.

Works on trees alone; what is equal is compare.py's to say.
"""

from lte_jax.host.answers.equations import bound_name, is_equation, is_inequality, is_name, names, oriented
from lte_jax.host.answers.exact import rational
from lte_jax.host.answers.families import family, is_domain, share_modulus
from lte_jax.host.answers.inequalities import interval, without
from lte_jax.host.answers.intervals import simplified
from lte_jax.host.answers.syntax import INFINITY, MINUS_INFINITY, REALS, Node, contains, replace


def normal_form(node: Node) -> Node:
    """The answer in the form that is compared."""
    if node.op in ("list", "set"):
        return _collection(node)
    values = signs(node)
    if len(values) > 1:
        return Node("list", tuple(normal_form(value) for value in values))
    if node.op == "rel" and len(node.args) == 2 and node.value == ("=",) and node.args[1].op == "list":
        return normal_form(node.args[1])
    if node.op == "tuple" and node.value == "[]" and all(_is_row(part, node.args[0]) for part in node.args):
        parts = tuple(entry for row in node.args for entry in row.args)
        return Node("matrix", parts, (len(node.args), len(node.args[0].args)))  # [[1, 2], [3, 4]]
    if node.op in ("minus", "union", "inter"):
        parts = (normal_form(part) if part.op in ("rel", "minus", "union", "inter") else part for part in node.args)
        node = Node(node.op, tuple(parts))
        if (whole := simplified(node)) != node:
            return whole
    if node.op == "in" and is_name(node.args[0]) and node.args[1].op == "where":
        return normal_form(node.args[1])
    if node.op == "where" and is_domain(node.args[1]):
        return normal_form(Node("list", node.args))
    if node.op == "minus":
        return without(node.args[0], node.args[1].args) if node.args[1].op == "set" else node
    return interval(oriented(node))


def signs(node: Node) -> tuple[Node, ...]:
    """The values of an answer with plus-minus signs; one choice of sign for the whole answer."""
    if not contains(node, "pm"):
        return (node,)

    def choose(upper: bool):
        def swap(part: Node) -> Node | None:
            if part.op != "pm":
                return None
            return part.args[0] if (part.value == "pm") == upper else Node("neg", part.args)

        return swap

    return replace(node, choose(True)), replace(node, choose(False))


# lists


def _collection(node: Node) -> Node:
    stated = [part for part in node.args if not is_domain(part)] if node.op == "list" else list(node.args)
    if node.op == "list" and (whole := _family(node)):
        return whole
    if len(stated) == 1 and len(node.args) > 1:
        return normal_form(stated[0])  # 2 k pi, k in Z
    if node.op == "list" and (whole := _system(stated) or _excluded(stated)):
        return whole
    op, stated = node.op, share_modulus(stated)
    if len(names(node) or ()) == 1:  # x = 1 or x = 2; the name is compare.py's to look at
        op, stated = "set", [oriented(part).args[1] for part in stated]
    values = [value for part in stated for value in signs(part)]
    parts = [normal_form(value) for value in values]
    if op == "list" and len(parts) > 1 and len(parts) == len(stated) and all(map(is_inequality, stated)):
        if len({bound_name(part) for part in stated}) > 1:
            return Node("list", tuple(parts))
        between = _between(parts) if node.value != "or" else None
        both = simplified(Node("inter", tuple(parts))) if node.value != "or" else None
        if both and both.op in ("tuple", "union"):
            return both  # 0 < x < 5, x != 1
        return between or simplified(Node("union", tuple(parts)))  # x < 1 or x > 2
    return Node(op, tuple(parts))


def _family(node: Node) -> Node | None:
    found = family(node)
    if found is None:
        return None
    parts, conditions = found
    answer = normal_form(parts[0] if len(parts) == 1 else Node("list", tuple(parts), node.value))
    return Node("given", (answer, *conditions)) if conditions else answer


def _system(parts: list[Node]) -> Node | None:
    """x = 1, y = 2 as (x, y) = (1, 2), names in alphabetical order; x_1 = 1, x_2 = 2 stays a list of roots."""
    parts = [oriented(part) for part in parts]
    if len(parts) < 2 or not all(is_equation(part) and part.args[0].op == "sym" for part in parts):
        return None
    names = [part.args[0].value for part in parts]
    roots = len({name.partition("_")[0] for name in names}) == 1
    if len(set(names)) < len(names) or roots or not all(part.args[1].scalar for part in parts):
        return None
    ordered = sorted(parts, key=lambda part: part.args[0].value)
    left, right = (Node("tuple", tuple(part.args[side] for part in ordered), "()") for side in (0, 1))
    return Node("rel", (left, right), ("=",))


def _excluded(parts: list[Node]) -> Node | None:
    """x != 0, 1 and x != 0, x != 1 as the reals without 0 and 1."""
    first = parts[0]
    if len(parts) < 2 or first.op != "rel" or first.value != ("!=",) or first.args[0].op != "sym":
        return None
    points = [first.args[1]]
    for part in parts[1:]:
        if part.op == "rel" and part.value == ("!=",) and part.args[0] == first.args[0]:
            part = part.args[1]
        if not part.scalar:
            return None
        points.append(part)
    return without(REALS, tuple(points))


def _between(parts: list[Node]) -> Node | None:
    """x > 1 and x < 2 as (1, 2)."""
    if len(parts) != 2 or not all(part.op == "tuple" and part.value for part in parts):
        return None
    lower, upper = sorted(parts, key=lambda part: part.args[0] == MINUS_INFINITY)
    if upper.args[0] != MINUS_INFINITY or lower.args[1] != INFINITY:
        return None
    low, high = rational(lower.args[0]), rational(upper.args[1])
    if low is None or high is None or low >= high:
        return None
    return Node("tuple", (lower.args[0], upper.args[1]), lower.value[0] + upper.value[1])


def _is_row(node: Node, first: Node) -> bool:
    return node.op == "tuple" and node.value == "[]" and len(node.args) == len(first.args)
