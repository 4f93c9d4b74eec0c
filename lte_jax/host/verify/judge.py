"""From two texts to a status: read both, compare. `decide` is cheap and safe; what it leaves open, slow.py decides."""

import re
from functools import lru_cache

from lte_jax.host.verify.compare import Comparison, shape
from lte_jax.host.verify.conventions import DEFAULT, MATHEMATICAL, Conventions
from lte_jax.host.verify.exact import ExactArithmetic
from lte_jax.host.verify.extract import boxes
from lte_jax.host.verify.normalise import normalise, squeeze
from lte_jax.host.verify.parse import parse
from lte_jax.host.verify.syntax import Node, TooLarge, Undecided, Unreadable
from lte_jax.records import Status

_CONVENTIONS = {"default": DEFAULT, "mathematical": MATHEMATICAL}
_CHOICE = re.compile(r"(?:\\text\{\s*)?\(?([A-J])\)?\.?\s*\}?")
_CHOICE_WITH_TEXT = re.compile(r"(?:\\text\{\s*)?(?:\(([A-J])\)|([A-J])\s*[).:\-])\}?\s*(?P<rest>.*)", re.DOTALL)
_ANOTHER_CHOICE = re.compile(r"\([A-J]\)|(?<![A-Za-z])[A-J]\s*[).:]|(?<![A-Za-z])(?:and|or|,)\s*\(?[A-J]\)?\s*\Z")
_BARE_COMMAS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+")


def choice(text: str, with_text: bool) -> str | None:
    """The letter of a multiple-choice answer: `B`, `(B)`, `\\text{(B)}` and, if `with_text`, `B) the text of B`."""
    if match := _CHOICE.fullmatch(text):
        return match.group(1)
    match = _CHOICE_WITH_TEXT.fullmatch(text) if with_text else None
    if match is None or _ANOTHER_CHOICE.search(match.group("rest")):
        return None
    return match.group(1) or match.group(2)


@lru_cache(maxsize=65_536)
def read(text: str, thousands: bool = True) -> Node:
    """Parse a normalised answer. Raises Unreadable or TooLarge."""
    try:
        return parse(text, thousands)
    except RecursionError as error:  # the caller's own stack was nearly full
        raise TooLarge("too deep for this stack") from error


@lru_cache(maxsize=65_536)
def gold_text(gold: str) -> str:
    """A gold in one spelling; a box around it is taken off."""
    inner = boxes(gold)
    return normalise(inner[-1] if inner else gold)


def is_list(gold: str) -> bool:
    """Is the gold a list or a set (1 ± 2 is one), so that several boxes may be one answer?"""
    try:
        return shape(read(gold_text(gold))).op in ("list", "set")
    except (Unreadable, TooLarge):
        return False


def _compare(gold: str, answer: str, arithmetic, conventions: Conventions) -> Status:
    """Both normalised. Raises Undecided."""
    if squeeze(gold) == squeeze(answer):
        return Status.EQUAL
    letter = choice(gold, with_text=False)
    if letter and letter == choice(answer, conventions.choice_with_text):
        return Status.EQUAL
    try:
        gold_node = read(gold)
    except Unreadable:
        return Status.BAD_GOLD
    try:
        answer_node = read(answer)
    except Unreadable:
        return Status.UNPARSABLE
    comparison = Comparison(arithmetic, conventions)
    same = comparison.same(gold_node, answer_node)
    if not same and _BARE_COMMAS.search(gold) and "," in answer:
        same = comparison.same(read(gold, False), read(answer, False))  # 100,200 as a list of two
    return Status.EQUAL if same else Status.DIFFERENT


def settle(gold: str, answer: str, arithmetic, conventions: str) -> Status:
    """The status of an answer by one arithmetic. Raises Undecided where that does not reach."""
    try:
        gold = gold_text(gold)
    except TooLarge:
        return Status.BAD_GOLD
    if not gold:
        return Status.BAD_GOLD
    try:
        return _compare(gold, normalise(answer), arithmetic, _CONVENTIONS[conventions])
    except TooLarge:
        return Status.TOO_LARGE
    except Unreadable:
        return Status.UNPARSABLE


@lru_cache(maxsize=65_536)
def decide(gold: str, answer: str, conventions: str = "default") -> Status | None:
    """The status of an answer where exact arithmetic will do, None where a worker must decide. Never raises."""
    try:
        return settle(gold, answer, ExactArithmetic(), conventions)
    except Undecided:
        return None


def check_gold(answer: str) -> str | None:
    """Why a reference answer cannot be used, or None. A good one can be read and matches itself inside a box."""
    try:
        text = gold_text(answer)
        read(text)
    except TooLarge as error:
        return f"too large: {error}"
    except Unreadable as error:
        return f"cannot be read, so only the identical text would match it: {error}"
    boxed = boxes(f"\\boxed{{{answer}}}")
    if not boxed or decide(answer, boxed[-1]) is not Status.EQUAL:
        return "does not match itself inside a box"
    return None
