"""One form for one answer: plus-minus written out, inequalities as intervals, equations with their name on the left.

Works on trees alone; what is equal is compare.py's to say.
"""

from fractions import Fraction

from lte_jax.host.answers.exact import rational
from lte_jax.host.answers.intervals import simplified
from lte_jax.host.answers.syntax import DUMMY, INFINITY, MINUS_INFINITY, REALS, Node, contains, replace, symbols
from lte_jax.host.answers.units import is_modulus, modulus_of

INTEGER_LETTERS = frozenset("kmnlprt")  # which an answer need not say of them
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}
_INEQUALITIES = frozenset({"<", ">", "<=", ">=", "!="})


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
        node = Node(
            node.op, tuple(normal_form(part) if part.op in ("rel", "minus", "union", "inter") else part for part in node.args)
        )
        if (whole := simplified(node)) != node:
            return whole
    if node.op == "where" and _is_domain(node.args[1]):
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
    stated = [part for part in node.args if not _is_domain(part)] if node.op == "list" else list(node.args)
    if node.op == "list" and (family := _family(node)):
        return family
    if len(stated) == 1 and len(node.args) > 1:
        return normal_form(stated[0])  # 2 k pi, k in Z
    if node.op == "list" and (whole := _system(stated) or _excluded(stated)):
        return whole
    op, stated = node.op, _share_modulus(stated)
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


def _share_modulus(parts: list[Node]) -> list[Node]:
    """n = 1, 3 (mod 4): the modulus stands behind the last one and is said of all."""
    last = parts[-1] if parts else Node("set")
    if last.op != "unit" or not is_modulus(last.value):
        return parts
    return [_modulo(part, last.value) for part in parts]


def _modulo(node: Node, modulus: str) -> Node:
    if is_equation(node):
        return Node("rel", (node.args[0], _modulo(node.args[1], modulus)), node.value)
    return Node("unit", (node,), modulus) if node.scalar and node.op != "unit" else node


def residues(node: Node) -> Node:
    """2 (mod 5) as 2 + 5 k for any integer k."""
    integer = Node("sym", value=f"{DUMMY}Z 0")

    def swap(part: Node) -> Node | None:
        if part.op != "unit" or not is_modulus(part.value):
            return None
        step = Node("num", value=Fraction(modulus_of(part.value)))
        return Node("add", (*part.args, Node("mul", (step, integer))))

    return replace(node, swap)


def _family(node: Node) -> Node | None:
    """An answer and what is said of its letters: `2 k pi, k in Z`, `f(x) = a x, a in R`, `1/x, x != 0`.

    A letter that is any integer becomes a dummy with a name of its own, and so does one that would be an integer if
    nothing were said of it; other conditions stay, in a `given`.
    """
    main = [part for part in node.args if not _is_domain(part)]
    conditions = [part for part in node.args if _is_domain(part)]
    while len(main) > 1 and _is_condition(main[-1], main[0]):
        conditions.insert(0, main.pop())
    if not main or all(part.op == "sym" for part in conditions) or any(map(is_inequality, main)):
        return None
    kept, dummies = [], {}
    for part in conditions:
        if _is_domain(part):
            name = "R" if part.args[1] == REALS else part.args[1].value.removeprefix("the set ")
            if name.startswith(("Z", "N")) or (name == "R" and part.args[0].value in INTEGER_LETTERS):
                dummies[part.args[0]] = Node("sym", value=f"{DUMMY}{name} {len(dummies)}")
        elif part.op != "sym":
            kept.append(part)
    main = [replace(part, dummies.get) for part in main]
    if len(main) > 1:
        return normal_form(Node("list", tuple(main), node.value)) if dummies and not kept else None
    if node.value == "or" and not dummies:
        return None
    answer = normal_form(main[0])
    return Node("given", (answer, *kept)) if kept else answer


def _is_condition(node: Node, main: Node) -> bool:
    if node.op == "sym":
        return node.value in symbols(main)
    about = node.args[0] if node.op in ("in", "rel") else None
    if main.op == "rel" and main.args[0] == about:
        return False  # x = 1, x > 2
    if about is None or not (node.op == "in" or is_inequality(node)):
        return False
    return about.op == "sym" and (_is_domain(node) or about.value in symbols(main))


def _is_domain(node: Node) -> bool:
    """`k in Z`: says what a parameter is, not what the answer is."""
    return node.op == "in" and node.args[0].op == "sym" and (node.args[1].op == "text" or node.args[1] == REALS)


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


def without(whole: Node, points: tuple[Node, ...]) -> Node:
    """The reals without some points as a union of intervals, where the points can be put in order."""
    values = [rational(point) for point in points]
    if whole != REALS or (None in values and len(points) > 1):
        return Node("minus", (whole, Node("set", points)))
    ordered = [points[at] for at in sorted(range(len(points)), key=lambda at: values[at] or 0)]
    ends = [MINUS_INFINITY, *ordered, INFINITY]
    return Node("union", tuple(Node("tuple", pair, "()") for pair in zip(ends, ends[1:], strict=False)))


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


# equations


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


# inequalities and intervals


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


def interval(node: Node) -> Node:
    """An inequality in one name with plain ends as an interval; anything else as it is."""
    if node.op == "in" and is_name(node.args[0]):
        return normal_form(node.args[1]) if node.args[1].op == "where" else node.args[1]
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


def _is_row(node: Node, first: Node) -> bool:
    return node.op == "tuple" and node.value == "[]" and len(node.args) == len(first.args)
