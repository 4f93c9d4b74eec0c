"""From two texts to a status: read both, compare. `decide` is cheap and safe; what it leaves open, slow.py decides."""

import re
from collections.abc import Iterator
from functools import lru_cache

from lte_jax.config import ConventionsConfig
from lte_jax.host.answers.claims import claim
from lte_jax.host.answers.compare import Comparison
from lte_jax.host.answers.exact import ExactArithmetic
from lte_jax.host.answers.extract import boxes, extract
from lte_jax.host.answers.markers import in_ascii
from lte_jax.host.answers.normal_form import normal_form
from lte_jax.host.answers.normalise import normalise, squeeze
from lte_jax.host.answers.parse import parse
from lte_jax.host.answers.sentences import is_sentence
from lte_jax.host.answers.syntax import Node, TooLarge, Undecided, Unreadable
from lte_jax.host.answers.units import currencies_conflict
from lte_jax.host.answers.words import meaning
from lte_jax.records import Status

DEFAULT = ConventionsConfig()
_LETTER = r"\(?([A-J])\)?|\(([a-j])\)"
_CHOICE = re.compile(rf"(?:\\text ?)?\{{? ?(?:{_LETTER}) ?[.:]? ?\}}?")
_CHOICE_WITH_TEXT = re.compile(
    r"(?:(?:\\text ?)?\{? ?(?:\(([A-J])\)|([A-J]) ?[).:]) ?\}?(?: ?[-:.] )?"  # B) 12, \\text{(B) }12
    r"|\\text ?\{ ?([A-J]) ?\}(?= ?[0-9])|([A-J]) - (?=[A-Za-z]{3})) ?(?P<rest>.*)",  # \\text{B} 12, B - heat
    re.DOTALL,
)
_ANOTHER_CHOICE = re.compile(r"\([A-J]\)|(?<![A-Za-z])[A-J] ?[).:]|(?<![A-Za-z])(?:and|or|,) ?\(?[A-J]\)? ?\Z")
_SURE = re.compile(
    r"-?(?:[0-9]{1,30}(?:\.[0-9]{1,30})?|\\frac\{[0-9]{1,30}\}\{[1-9][0-9]{0,29}\}|[0-9]{1,30}/[1-9][0-9]{0,29})"
)
_COMMANDS = re.compile(r"\\[A-Za-z]+(?!\{[^{}]*[a-z]{3})")
_WORDS = re.compile(r"[A-Za-z]{3}")
_DECIMAL_COMMA = re.compile(r"(-?[0-9]{1,12}),(?=(?:[0-9]{1,2}|[0-9]{4,12})(?![0-9,]))|(-?0),(?=[0-9]{3}(?![0-9,]))")
_BARE_COMMAS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+")


def choice(text: str, with_text: bool) -> str | None:
    """The letter of a multiple-choice answer: `B`, `(b)`, `\\text{(B)}` and, if `with_text`, `B) the text of B`."""
    if match := _CHOICE.fullmatch(text):
        return (match.group(1) or match.group(2)).upper()
    match = _CHOICE_WITH_TEXT.fullmatch(text) if with_text else None
    if match is None or _ANOTHER_CHOICE.search(match.group("rest")):
        return None
    return next(filter(None, match.groups()))


@lru_cache(maxsize=65_536)
def read(text: str, thousands: bool = True) -> Node:
    """Parse a normalised answer. Raises Unreadable or TooLarge."""
    try:
        return parse(text, thousands)
    except RecursionError as error:  # the caller's own stack was nearly full
        raise TooLarge("too deep for this stack") from error


@lru_cache(maxsize=65_536)
def gold_text(gold: str) -> str:
    """A gold in one spelling: of a box its content, of a GSM8K solution what stands behind its ####, of a sentence what
    it states. Raises Unreadable for a sentence that states no single answer."""
    inner = boxes(gold)
    text = inner[-1] if inner else gold.rpartition("####")[2]
    return normalise(_stated(text) if is_sentence(text) and meaning(text).op in ("text", "list") else text)


def _stated(sentence: str) -> str:
    found = extract(sentence)
    answer = found.answer if found and found.rule == "marker" else claim(in_ascii(sentence))
    if answer is None or is_sentence(answer):
        raise Unreadable("it is a sentence from which no single answer can be read")
    return answer


def kind_of(text: str) -> str:
    """`letter` of a multiple-choice answer, `list` for a list or a set (1 ± 2 is one), `named` for a tuple or
    `x = 1, y = 2`, else `other`."""
    try:
        answer = gold_text(text)
        if choice(answer, with_text=True):
            return "letter"
        node = normal_form(read(answer))
    except (Unreadable, TooLarge):
        return "other"
    if node.op in ("list", "set"):
        return "list"
    is_system = node.op == "rel" and node.args[-1].op == "tuple"
    return "named" if is_system or (node.op == "tuple" and node.value == "()") else "other"


def _compare(gold: str, answer: str, arithmetic, conventions: ConventionsConfig) -> Status:
    """Both normalised. Raises Undecided."""
    if squeeze(gold) == squeeze(answer):
        return Status.EQUAL
    letter = choice(gold, conventions.choice_with_text)
    if letter and letter == choice(answer, conventions.choice_with_text):
        return Status.EQUAL
    try:
        gold_node = read(gold)
    except Unreadable:
        return Status.BAD_GOLD
    comparison = Comparison(arithmetic, conventions)

    def same(text: str) -> bool:
        if comparison.same(gold_node, read(text)):
            return True
        as_lists = _BARE_COMMAS.search(gold) and "," in text  # 100,200 may be a list of two
        return bool(as_lists) and comparison.same(read(gold, False), read(text, False))

    unreadable = None
    for text in _spellings(answer, letter is not None, gold_node.scalar):
        try:
            if same(text):
                return Status.EQUAL
        except Unreadable as error:
            unreadable = unreadable or error
    if unreadable:
        raise unreadable
    return Status.DIFFERENT


def _spellings(answer: str, gold_is_letter: bool, gold_is_number: bool) -> Iterator[str]:
    """The answer; then, for a gold that is no letter, what stands behind a letter, `(B) 12`, and what follows the last
    `=` where the left side cannot be read, `P(X = 1) = 12`; but nothing of a sentence. For a gold that is one number
    `3,5` is 3.5 too."""
    yield answer
    if gold_is_letter:
        return
    if gold_is_number and (match := _DECIMAL_COMMA.match(answer)):
        yield f"{match[1] or match[2]}.{answer[match.end() :]}"
    if match := _CHOICE_WITH_TEXT.fullmatch(answer):
        yield match.group("rest").removesuffix("}").strip()
    left, equals, right = answer.rpartition("=")
    if equals and not _WORDS.search(_COMMANDS.sub("", left)) and not _is_readable(left):
        yield right.strip()


def _is_readable(text: str) -> bool:
    try:
        read(text.strip())
    except Unreadable:
        return False
    return True


def status_by(gold: str, answer: str, arithmetic, conventions: ConventionsConfig) -> Status:
    """The status of an answer by one arithmetic. Raises Undecided where that does not reach."""
    written = gold
    try:
        gold = gold_text(gold)
    except (TooLarge, Unreadable):
        return Status.BAD_GOLD
    if not gold:
        return Status.BAD_GOLD
    if currencies_conflict(written, answer):
        return Status.DIFFERENT
    try:
        return _compare(gold, normalise(answer), arithmetic, conventions)
    except TooLarge:
        return Status.TOO_LARGE
    except Unreadable:
        return Status.UNPARSABLE


@lru_cache(maxsize=65_536)
def decide(gold: str, answer: str, conventions: ConventionsConfig = DEFAULT) -> Status | None:
    """The status of an answer where exact arithmetic will do, None where a worker must decide. Never raises."""
    try:
        return status_by(gold, answer, ExactArithmetic(), conventions)
    except Undecided:
        return None


def check_gold(answer: str, conventions: ConventionsConfig = DEFAULT) -> str | None:
    """Why a reference answer cannot be used, or None. A good one can be read and matches itself inside a box."""
    if _SURE.fullmatch(answer):  # most golds of a file, numbers and fractions, need no parser for that
        return None
    try:
        text = gold_text(answer)
    except TooLarge as error:
        return f"too large: {error}"
    except Unreadable as error:
        return f"cannot be graded: {error}"
    try:
        read(text)
    except TooLarge as error:
        return f"too large: {error}"
    except Unreadable as error:
        return f"cannot be read, so only the identical text would match it: {error}"
    boxed = boxes(f"\\boxed{{{text if is_sentence(answer) else answer}}}")
    if not boxed or decide(answer, boxed[-1], conventions) is not Status.EQUAL:
        return "does not match itself inside a box"
    return None
