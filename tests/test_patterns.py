"""No pattern of the package may take more than about linear time: each one is fed pumped inputs, its own and general
ones. What is measured is this thread's processor time, and only its growth counts."""

import ast
import importlib
import pkgutil
import re
import time
from pathlib import Path
from re import _parser as parser

import pytest

import lte_jax

PACKAGE = Path(lte_jax.__file__).parent
SHORT, LONG = 2_000, 8_000  # characters; four times as many may take at most GROWTH times as long
GROWTH = 8.0
FREE_S = 0.004  # nothing that is this quick at LONG is looked at twice: quadratic time takes 20 ms and more
PUMPS = (
    " ", "\n", "~", "\\", "\\\\", r"\,", r"\quad ", r"\text{", r"\text{a} ", "{", "}", "{}", "{a}", "(", ")", "()", "[",
    "1", "12 345 ", "1,", ",", ", ", "111,", "1.", "1.111.", ".", "$", "$$", "$1", "a", "a ", "A", "A,", "ab ", "cm ",
    "1 cm ", "and ", "or ", "not ", "is ", ", where n integer", "where ", "integer ", "-", "+", "=", "<", "|", "^", "_",
    "/", ":", "*", "**", "%", "!", r"\boxed{", "boxed{", r"\frac{", r"{\over ", r"\over ", r"\mod ", "the answer is ",
    "answer: ", r"\(", r"\)", r"\[", "答案是", "。", "é", "\u0661",
)  # fmt: skip
CHARACTERS = " a0,.({\\$_A\n%-xB:=1|^}])[/!#zé"
REPEATS = (parser.MAX_REPEAT, parser.MIN_REPEAT, parser.POSSESSIVE_REPEAT)
GROUPS = {parser.SUBPATTERN: 3, parser.ATOMIC_GROUP: None, parser.ASSERT: 1, parser.ASSERT_NOT: 1}
PATTERNS_OF_THE_USER = {("host/diagnose.py", "pattern")}  # they see capped text: test_diagnose.py


def compiled():
    """Every pattern that a module holds, in tables too, by where it stands."""
    names = [info.name for info in pkgutil.walk_packages(lte_jax.__path__, "lte_jax.")]
    for name in names:
        if not name.endswith("__main__"):
            for variable, value in vars(importlib.import_module(name)).items():
                yield from ((f"{name}.{variable}", pattern) for pattern in held(value))


def held(value, depth=0):
    if isinstance(value, re.Pattern):
        yield value
    elif depth < 4 and isinstance(value, dict):
        yield from held([*value.keys(), *value.values()], depth + 1)
    elif depth < 4 and isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from held(part, depth + 1)


def inline():
    """Every pattern that is written where it is used, `re.sub(r"…", …)`; what stands in a hole counts as one letter."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re") or node.func.attr == "escape":
                continue
            place = (path.relative_to(PACKAGE).as_posix(), ast.unparse(node.args[0]))
            if isinstance(node.args[0], ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.args[0].values]
                yield ":".join(place), re.compile("".join(parts))
            elif isinstance(node.args[0], ast.Constant):
                yield ":".join(place), re.compile(node.args[0].value)
            elif node.func.attr != "compile" and place not in PATTERNS_OF_THE_USER:
                raise AssertionError(f"{place}: a pattern that this test cannot see; compile it at module level")


PATTERNS = {pattern: place for place, pattern in (*inline(), *compiled()) if isinstance(pattern.pattern, str)}


def sample(item, choice):
    """A short text that the item matches; `choice` picks among characters and branches."""
    op, arg = item
    if op is parser.LITERAL:
        return chr(arg)
    if op in (parser.IN, parser.NOT_LITERAL, parser.ANY):
        return next(filter(lambda char: matches(item, char), CHARACTERS[choice:] + CHARACTERS), "")
    if op is parser.BRANCH:
        return samples(arg[1][choice % len(arg[1])], choice)
    if op in REPEATS:
        return samples(arg[2], choice) * min(arg[0], 50)
    if op in GROUPS and not (op in (parser.ASSERT, parser.ASSERT_NOT) and (op is parser.ASSERT_NOT or arg[0] > 0)):
        return samples(inside(item), choice)
    return ""


def samples(items, choice):
    return "".join(sample(item, choice) for item in items)


def inside(item):
    op, arg = item
    return arg if GROUPS[op] is None else arg[GROUPS[op]]


def matches(item, char):
    op, arg = item
    if op is parser.NOT_LITERAL:
        return ord(char) != arg
    if op is parser.ANY:
        return char != "\n"
    negate = arg[0][0] is parser.NEGATE
    return any(_in_class(part, char) for part in arg[negate:]) != negate


_CATEGORIES = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w", "NOT_DIGIT": r"\D", "NOT_SPACE": r"\S", "NOT_WORD": r"\W"}


def _in_class(part, char):
    kind, value = part
    if kind is parser.LITERAL:
        return ord(char) == value
    if kind is parser.RANGE:
        return value[0] <= ord(char) <= value[1]
    return re.match(_CATEGORIES[str(value).removeprefix("CATEGORY_")], char) is not None


def attacks(items, choice, prefix=""):
    """(what leads to a repeat, what it repeats) for each repeat of a pattern."""
    for item in items:
        op, arg = item
        if op in REPEATS:
            if arg[1] > 8:
                yield prefix, samples(arg[2], choice)
            yield from attacks(arg[2], choice, prefix)
        elif op in GROUPS:
            yield from attacks(inside(item), choice, prefix)
        elif op is parser.BRANCH:
            for branch in arg[1]:
                yield from attacks(branch, choice, prefix)
        prefix += sample(item, choice)


def inputs(pattern):
    """(prefix, pump) pairs for a pattern: general pumps, its own, and its own behind what leads to them."""
    tree = parser.parse(pattern.pattern, pattern.flags)
    own = [pair for choice in (0, 1, 2, 3, 9) for pair in attacks(tree, choice)]
    whole = [("", samples(tree, choice)) for choice in range(4)]
    return dict.fromkeys(
        pair for pair in (*(("", pump) for pump in PUMPS), *own, *(("", pump) for _, pump in own), *whole) if pair[1]
    )


def cost(pattern, prefix, pump, size, repeats=1):
    """Processor seconds to find all matches in pumped text that then goes wrong."""
    text = prefix + pump * (size // len(pump)) + "\x00"
    return min(_once(pattern, text) for _ in range(repeats))


def _once(pattern, text):
    start = time.thread_time()
    for _ in pattern.finditer(text):
        pass
    return time.thread_time() - start


def growth(pattern):
    """The worst growth from SHORT to LONG, and for what."""
    worst = (0.0, None)
    for prefix, pump in inputs(pattern):
        for size in (16, 20, 24, 28, 32, 40, 60, LONG // 32, LONG // 8, LONG):  # what is exponential shows at the first
            took = cost(pattern, prefix, pump, size)
            if took > (0.02 if size < 100 else 0.5):
                return float("inf"), (prefix, pump)
        if took < FREE_S:
            continue
        ratio = took / cost(pattern, prefix, pump, SHORT)
        if ratio > GROWTH:  # perhaps by chance
            ratio = cost(pattern, prefix, pump, LONG, 4) / cost(pattern, prefix, pump, SHORT, 4)
        worst = max(worst, (ratio, (prefix, pump)), key=lambda pair: pair[0])
        if ratio > GROWTH:
            return worst
    return worst


@pytest.mark.parametrize("pattern", PATTERNS, ids=PATTERNS.values())
def test_every_pattern_of_the_package_takes_about_linear_time(pattern):
    ratio, where = growth(pattern)
    assert ratio < GROWTH, f"{ratio:.1f} times as long for {LONG / SHORT:.0f} times as much of {where}"


@pytest.mark.parametrize("bad", [r"\s*,", r"(a|aa)+b", r"x?[ ,(]*\b(?:for)?\s*[a-z]*\s*!", r"(?:1+,?)+\Z", r"\(.*?\)"])
def test_the_measure_sees_patterns_that_grow(bad):
    assert growth(re.compile(bad))[0] > GROWTH


def test_patterns_in_tables_are_found():
    places = set(PATTERNS.values())
    assert {"lte_jax.host.answers.spellings.TEXT", "lte_jax.model_io.hub._ID"} <= places
