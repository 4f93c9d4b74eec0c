"""Numbers as written, to exact fractions: decimals, exponents, repeating decimals, words, digits in a base."""

import re
from fractions import Fraction

from lte_jax.host.verify.limits import MAX_DIGITS
from lte_jax.host.verify.syntax import Node, TooLarge, Unreadable

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
_REPEATED = re.compile(r"([0-9]+?)\1+\Z")


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
    if marked := re.findall(r"(?<=[({])[0-9]+", text):
        plain, repeated = re.match(r"[0-9]*\.[0-9]*", text).group(), marked[0]
    else:
        written = re.match(r"[0-9]*\.[0-9]+", text).group()
        period = _REPEATED.search(written.partition(".")[2])
        if period is None:
            raise Unreadable(f"{text!r} does not say how it goes on")
        plain, repeated = written[: len(written) - len(period.group())], period.group(1)
    decimals = len(plain.partition(".")[2])
    return number_value(plain) + Fraction(int(repeated), (10 ** len(repeated) - 1) * 10**decimals)


def word_value(words: str) -> Fraction | None:
    """`twenty-one` is 21; None for anything but a number in words up to a hundred."""
    value = _WORDS.get(words)
    return None if value is None else Fraction(value)


def in_base(digits: str, base: str) -> Node:
    """A number written in a base: 2A_{16}, 1011_{two}."""
    value = _WORDS.get(base, int(base) if re.fullmatch(r"[0-9]{1,2}", base) else 0)
    if not 2 <= value <= 36 or not re.fullmatch(r"[0-9A-Za-z]+", digits):
        raise Unreadable(f"{digits}_{base} is no number in a base")
    return Node("base", value=(digits.upper(), value))
