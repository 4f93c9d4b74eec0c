r"""Bring an answer to one spelling before it is read: Unicode, LaTeX spacing, wrappers, currency, plain-word units.

All replacements are single passes in about linear time (tests/test_patterns.py) over at most MAX_ANSWER_CHARS. Runs of
space become one space first and after each replacement, so patterns say ` ?` and never meet a second one.
"""

import re
import unicodedata
from functools import lru_cache

from lte_jax.host.answers.characters import AS_LATEX
from lte_jax.host.answers.limits import MAX_ANSWER_CHARS
from lte_jax.host.answers.spellings import (
    CONDITION_IN_BRACKETS,
    DECIMAL_COMMA,
    DEGREE_SCALE,
    GIVEN,
    LATEX,
    SPACES,
    TEXT,
    THOUSANDS,
    Rule,
    given,
)
from lte_jax.host.answers.syntax import TooLarge
from lte_jax.host.answers.units import is_word, known_units

_SPACE = re.compile(r"\s+")
_DOUBLED = re.compile(
    r"\\\\(?:begin|[dt]?frac|sqrt|text|pi|left|cdot|times|infty|theta|alpha|le|ge|in|cup|pm|circ)(?![a-z])"
)
_SINGLE = re.compile(r"(?<!\\)\\[A-Za-z]")
_ALIGNED = re.compile(r"\\(?:begin|end)\{(?:align(?:ed)?|equation|gather(?:ed)?|split|displaymath|math)\*?\}")
_OPEN_ENDS = re.compile(r" ?([\[\]])([^\[\](),;]+[,;][^\[\](),;]+)([\[\]]) ?")
_WORD_UNIT = re.compile(r"(?<=[0-9}\])!]) ([A-Za-z]{2,}\.?(?:[ /]\.?[A-Za-z]+\.?){0,3}(?: ?\^ ?\{?[23]\}?)?) ?\Z")
_GLUED_UNIT = re.compile(r"(?<=[0-9])((?:cm|mm|km|kg|mg|mph|ft|lbs?|hrs?|min|sec|mL|ml)(?: ?\^ ?\{?[23]\}?)?) ?\Z")
_GLUED_WORD = re.compile(r"(?<=[0-9])([A-Za-z]{3,20}) ?\Z")
_SHORT_UNIT = re.compile(r"(?<=[0-9]) ([mgshLNJWVKAC](?:/[smh])?(?: ?\^ ?\{?[23]\}?)?) ?\Z")
_NOT_A_UNIT = re.compile(
    r"\b(?:or|and|pi|sqrt|sin|cos|tan|ln|log|exp|e|i|x|y|is|to|union|mod|not|over|if|inf|infinity)\b"
)
_LETTERS = re.compile("[A-Za-z]+")
_UNIT_CHARS = 60  # at the end of an answer
_LONE_ARGUMENT = re.compile(r"([_^])\{(\w)\}(?!\w)")
_LETTERED = re.compile(r"\(?[A-J][).:] ")  # (B) an ellipse
_ENDLESS = re.compile(r"\.[0-9]+ ?\.{3,}\Z")
_LOOSE_SPACE = re.compile(r" (?![A-Za-z0-9])|(?<![A-Za-z0-9]) ")


def _ascii_digit(char: str) -> str:
    digit = unicodedata.decimal(char, None)
    return char if digit is None else str(digit)


def _unit_at_the_end(tail: str) -> re.Match | None:
    """Its group is the unit: words behind a space, a glued `10cm` or `10weeks`, a letter such as `5 m`."""
    if (match := _WORD_UNIT.search(tail)) and is_word(_LETTERS.match(match[1])[0]):  # not 3 ab, 6 xyz
        return match
    if match := _GLUED_UNIT.search(tail):
        return match
    if (match := _GLUED_WORD.search(tail)) and known_units(match[1]):
        return match
    return _SHORT_UNIT.search(tail)


def _mark_unit(text: str) -> str:
    """Plain words behind a number become a \\text unit, which the parser may drop."""
    tail = text[-_UNIT_CHARS:]
    match = None if _LETTERED.match(text) else _unit_at_the_end(tail)
    if match is None or _NOT_A_UNIT.search(match[1]):
        return text
    words, _, power = match[1].partition("^")
    begin = len(text) - len(tail) + match.start()
    return f"{text[:begin]}\\text{{{words}}}" + (f"^{power.strip()}" if power else "")


def _round_ends(text: str) -> str:
    """`]1, 2[` as `(1, 2)`."""
    stripped = text.strip()
    if not (stripped.startswith("]") or stripped.endswith("[")):
        return text
    parts = [_OPEN_ENDS.fullmatch(part) for part in text.split(r"\cup")]
    if None in parts:
        return text
    ends = [("[" if p[1] == "[" else "(", "]" if p[3] == "]" else ")") for p in parts]
    return r"\cup ".join(f"{left}{p[2]}{right}" for p, (left, right) in zip(parts, ends, strict=True))


def _check_length(text: str) -> None:
    if len(text) > MAX_ANSWER_CHARS:
        raise TooLarge(f"an answer of {len(text)} characters; at most {MAX_ANSWER_CHARS} are read")


def _one_space(text: str) -> str:
    """A single space for each run of whitespace."""
    return _SPACE.sub(" ", text)


def _replaced(text: str, spellings: list[Rule]) -> str:
    for pattern, spelling in spellings:
        text = pattern.sub(spelling, text)
        if "  " in text:
            text = _SPACE.sub(" ", text)
    return text


@lru_cache(maxsize=4_096)  # a gold is compared with itself when it is checked, and then with each response
def normalise(answer: str) -> str:
    """One spelling for one answer. Raises TooLarge where it is too long to be one."""
    _check_length(answer)
    text = _one_space(answer.translate(AS_LATEX))
    if not answer.isascii():
        text = text.replace("}^{", "").replace("}_{", "")  # 10⁻⁶ was translated one character at a time
        text = _one_space("".join(map(_ascii_digit, unicodedata.normalize("NFKC", text))))
        _check_length(text)
    if "\\" in text or "~" in text or "{" in text:
        text = THOUSANDS.sub("", DECIMAL_COMMA.sub(".", text))
        if _ALIGNED.search(text):
            text = _ALIGNED.sub("", text).replace("&", "")
        if _DOUBLED.search(text) and not _SINGLE.search(text):
            text = text.replace("\\\\", "\\")  # escaped once too often, as in JSON
        text = _one_space(SPACES.sub(" ", text))
        text = _replaced(text, LATEX)
        text = DEGREE_SCALE.sub("", text)
        text = GIVEN.sub(given, text, count=1)
        text = CONDITION_IN_BRACKETS.sub(r", \1", text)
    text = _replaced(text.replace("$", ""), TEXT)
    text = text.strip().rstrip("\\ ").lstrip("=: ")
    text = text if _ENDLESS.search(text) else text.rstrip(".,;: ").strip()
    return _mark_unit(_round_ends(_unwrapped(text)))


def _unwrapped(text: str) -> str:
    """Without braces around the whole."""
    while text.startswith("{") and text.endswith("}") and "{" not in text[1:-1] and "}" not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def squeeze(text: str) -> str:
    """The text without spaces and braces that cannot matter: x^{2} is x^2, but `1 1/2` keeps its space."""
    return _LOOSE_SPACE.sub("", _LONE_ARGUMENT.sub(r"\1\2", text))
