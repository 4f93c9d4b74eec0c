"""Units as words: only good for saying that two of them differ. Nothing is converted."""

import re

from lte_jax.host.answers.limits import MAX_ANSWER_CHARS

_NAMES = {
    "mm": "millimeter millimetre", "cm": "centimeter centimetre", "m": "meter metre", "km": "kilometer kilometre",
    "in": "inch inche", "ft": "foot feet", "yd": "yard", "mi": "mile", "g": "gram", "kg": "kilogram", "lb": "pound",
    "s": "second sec", "min": "minute", "h": "hour hr", "day": "day", "week": "week", "month": "month", "year": "year",
    "cent": "cent", "dollar": "dollar", "l": "liter litre", "ml": "milliliter millilitre", "mph": "mph", "am": "am",
    "pm": "pm",
}  # fmt: skip
_CANONICAL = {name: unit for unit, names in _NAMES.items() for name in (unit, *names.split())}
# What no unit has among its words: it changes the number, or says something about it
_CHANGES = frozenset(
    "or and not no but more less than minus plus times divided multiplied doubled tripled halved factorial is isn't "
    "isnt was  are were be wrong incorrect false maybe perhaps probably possibly unless except if to between either "
    "neither nor  lakh crore grand percentage choose answer half quarter quarters third thirds percent dozen hundred "
    "thousand million billion trillion  zero one two three four five six seven eight nine ten eleven twelve twenty "
    "thirty forty fifty".split()
)
# Short words that are counted or measured in. Other letters behind a number are variables: 3 ab, 6 xyz
_SHORT = frozenset(
    "ft in yd mi mm cm dm km nm mg kg lb lbs oz gal qt pt ml cl dl hr hrs hz khz mhz db gb mb kb tb rpm mph kph "
    "fps psi sec min ms mol rad deg ton bar kj kw kwh mw pa ev cal amp ohm sq cu cc pts yds pct men man car cat "
    "dog box egg eggs pen hen boy way cup day bag can jar bus pie pea toy key row set cow pig fox hat job map net "
    "nut pot tin tub tie win ray arc arcs ant ants ace aces bee bit bed cap cut die dot eel elf gem gum gun hit "
    "inn ivy jet kid lap leg mat mug oak oar owl pan pin pit rod rug run tap tip top van vet web wig zoo act acts "
    "inch of per".split()
)
_MODULUS = re.compile("mod [0-9]{1,9}")
_VOWEL_WITHIN = re.compile(r"(?i)[a-z]{1,30}[aeiou]")
_COMPOUNDS = {"mph": (("mi", 1), ("h", -1))}
_POWERS = {"square": "2", "sq": "2", "squared": "2", "cubic": "3", "cubed": "3"}

_CURRENCIES = {
    "\\$": "dollar", "dollar": "dollar", "¢": "cent", "cent": "cent", "€": "euro", "euro": "euro", "£": "pound",
    "pound": "pound", "¥": "yen", "￥": "yen", "yen": "yen", "₹": "rupee", "rupee": "rupee", "%": "percent",
    "\\circ": "degree", "\\degree": "degree", "°": "degree",
}  # fmt: skip
_CURRENCY = re.compile(
    r"(?i)\\\$|%|\\circ\b|\\degree\b|°|[¢€£¥￥₹]|(?<!per )\b(?:dollar|cent|euro|pound|rupee)s?\b|\byen\b"
)


def changes_the_number(unit: str) -> bool:
    """`squared`, `is wrong`, `or six`, `minus one`: words behind a number that are no unit."""
    words = re.findall(r"[a-z']+", unit.casefold())
    if "?" in unit:
        return True
    return bool(words) and (words[0] in ("squared", "cubed", "at") or not _CHANGES.isdisjoint(words))


def is_word(letters: str) -> bool:
    """`ft`, `men`, `apples`, and not `ab` or `xyz`, which are products."""
    return letters.casefold() in _SHORT or len(letters) > 3 and bool(_VOWEL_WITHIN.match(letters))


def is_modulus(unit: str) -> bool:
    """`mod 5`, as normalise writes it."""
    return _MODULUS.fullmatch(unit) is not None


def modulus_of(unit: str) -> int:
    """The 5 of `mod 5`."""
    return int(unit.removeprefix("mod "))


def known_units(unit: str) -> tuple[tuple[str, int], ...] | None:
    """((unit, power), …) of known units, `m/s` or `miles per hour` included; None where one is not known."""
    if is_modulus(unit):
        return ((unit, 1),)
    words = re.findall(r"[a-z]+|\^\{?-?[0-9]+\}?|/", unit.casefold())
    powers: dict[str, int] = {}
    last, sign, factor = "", 1, 1
    for word in words:
        if word in ("/", "per"):
            sign = -1
        elif word.startswith("^"):
            if last:
                powers[last] = powers[last] * int(word.strip("^{}"))
        elif word in _POWERS:
            factor = int(_POWERS[word])
            if last and word.endswith("ed"):  # meters squared
                powers[last], factor = powers[last] * factor, 1
        else:
            last = _CANONICAL.get(word) or _CANONICAL.get(word.removesuffix("s"), "")
            if not last:
                return None
            for name, own in _COMPOUNDS.get(last, ((last, 1),)):
                powers[name] = powers.get(name, 0) + sign * factor * own
            last, factor = (name, 1)
    return tuple(sorted(powers.items())) or None


def currencies_conflict(left: str, right: str) -> bool:
    """As written: $5 is not 5 cents, 5 euros, 5% or 5 degrees; an answer without such a mark never conflicts."""
    if len(left) > MAX_ANSWER_CHARS or len(right) > MAX_ANSWER_CHARS:
        return False
    found = [
        {_CURRENCIES[mark.casefold().removesuffix("s")] for mark in _CURRENCY.findall(text)} for text in (left, right)
    ]
    return all(len(names) == 1 for names in found) and found[0] != found[1]


def units_conflict(left: str, right: str) -> bool:
    """5 cents is not 5 dollars; an unknown or missing unit never conflicts."""
    if not left or not right:
        return False
    known = known_units(left), known_units(right)
    return None not in known and known[0] != known[1]
