"""Numbers as written, to exact fractions: decimals, exponents, repeating decimals, words, digits in a base."""

import re
from fractions import Fraction

from lte_jax.host.answers.limits import MAX_DIGITS
from lte_jax.host.answers.syntax import Node, TooLarge, Unreadable

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORDS = {word: value for value, word in enumerate(_ONES)}
_WORDS |= {
    f"{ten}{joint}{one}" if one else ten: 10 * place + value
    for place, ten in enumerate(_TENS, start=2)
    for joint in "- "
    for value, one in enumerate(["", *_ONES[1:10]])
}
_WORDS |= {"one hundred": 100, "hundred": 100, "one thousand": 1000, "half": Fraction(1, 2), "one half": Fraction(1, 2)}


_SCALE_WORDS = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_MARKED = re.compile(r"(?:\\(?:overline|bar|dot) ?\{|\()([0-9]+)")


def _check_length(text: str) -> None:
    if len(text) > MAX_DIGITS:
        raise TooLarge(f"a number of more than {MAX_DIGITS} digits")


def number_value(text: str) -> Fraction:
    """The exact value of a number as written. Raises TooLarge past MAX_DIGITS digits or decimal exponent."""
    mantissa, _, exponent = text.lower().partition("e")
    _check_length(mantissa)
    if len(exponent) > 6 or abs(int(exponent or 0)) > MAX_DIGITS:
        raise TooLarge(f"a number of more than {MAX_DIGITS} digits")
    whole, _, decimals = mantissa.partition(".")
    value = Fraction(int((whole + decimals) or 0), 10 ** len(decimals))
    return value * Fraction(10) ** int(exponent or 0)


def repeating_value(text: str) -> Fraction:
    r"""The exact value of `0.1\overline{6}`, `0.1\dot{6}`, `0.1(6)` or `0.1666...`.

    The last only where the digits show at least two whole periods; else Unreadable, since more digits are unknown.
    """
    _check_length(text)
    if marked := _MARKED.search(text):
        plain, repeated = text[: marked.start()], marked.group(1)
    else:
        written = text.partition("\\")[0].rstrip(". ")
        length, period = _tail_of_periods(written.partition(".")[2])
        if not period:
            raise Unreadable(f"{text!r} does not say how it goes on")
        plain, repeated = written[: len(written) - length], written[-period:]
    decimals = len(plain.partition(".")[2])
    return number_value(plain) + Fraction(int(repeated), (10 ** len(repeated) - 1) * 10**decimals)


def _tail_of_periods(digits: str) -> tuple[int, int]:
    """The longest end of `digits` that is one period at least twice: its length and the period's; (0, 0) if none.

    In linear time: `borders[k]` is the longest true border of the last k + 1 digits.
    """
    backwards, borders, found = digits[::-1], [0], (0, 0)
    for at, digit in enumerate(backwards[1:], start=1):
        border = borders[-1]
        while border and backwards[border] != digit:
            border = borders[border - 1]
        borders.append(border + (backwards[border] == digit))
        period = at + 1 - borders[-1]
        if borders[-1] and (at + 1) % period == 0:
            found = at + 1, period
    return found


def word_value(words: str) -> Fraction | None:
    """`twenty-one` is 21, `two hundred and five thousand` is 205,000; None for anything but a number in words."""
    if (value := _WORDS.get(words)) is not None:
        return Fraction(value)
    total, below, last = 0, None, 10**12
    for word in words.replace("-", " ").split():
        if word == "and" and total + (below or 0):
            continue
        if word == "hundred" and below is not None and 0 < below < 10:
            below *= 100
        elif word in _SCALE_WORDS and below and _SCALE_WORDS[word] < last:
            last = _SCALE_WORDS[word]
            total, below = total + below * last, None
        elif isinstance(one := _WORDS.get(word), int) and _fits(one, below):
            below = (below or 0) + one
        else:
            return None
    return Fraction(total + (below or 0)) if words else None


def _fits(value: int, below: int | None) -> bool:
    """May `value` follow what was read: five after twenty or a hundred, twenty after a hundred?"""
    if value >= 100 or (value == 0 and below is not None):
        return False
    return below is None or (below % 100 == 0 and below > 0) or (value < 10 and below % 10 == 0 and below % 100 >= 20)


def in_base(digits: str, base: str) -> Node:
    """A number written in a base: 2A_{16}, 1011_{two}."""
    value = _WORDS.get(base, int(base) if re.fullmatch(r"[0-9]{1,2}", base) else 0)
    if not 2 <= value <= 36 or not re.fullmatch(r"[0-9A-Za-z]+", digits):
        raise Unreadable(f"{digits}_{base} is no number in a base")
    return Node("base", value=(digits.upper(), value))
