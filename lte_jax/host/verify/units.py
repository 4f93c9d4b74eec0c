"""Units as words: only good for saying that two of them differ. Nothing is converted."""

import re

_NAMES = {
    "mm": "millimeter millimetre", "cm": "centimeter centimetre", "m": "meter metre", "km": "kilometer kilometre",
    "in": "inch inche", "ft": "foot feet", "yd": "yard", "mi": "mile", "g": "gram", "kg": "kilogram", "lb": "pound",
    "s": "second sec", "min": "minute", "h": "hour hr", "day": "day", "week": "week", "month": "month", "year": "year",
    "cent": "cent", "dollar": "dollar", "l": "liter litre", "ml": "milliliter millilitre", "mph": "mph", "am": "am",
    "pm": "pm",
}  # fmt: skip
_CANONICAL = {name: unit for unit, names in _NAMES.items() for name in (unit, *names.split())}
_POWERS = {"square": "2", "sq": "2", "squared": "2", "cubic": "3", "cubed": "3"}


def canonical(unit: str) -> tuple[str, str] | None:
    """(unit, power) of one known unit; None where it is not known or a compound."""
    words = re.findall(r"[a-z]+|\^\{?[0-9]+\}?|/", unit.casefold())
    power, names = "1", []
    for word in words:
        if word.startswith("^"):
            power = word.strip("^{}")
        elif word in _POWERS:
            power = _POWERS[word]
        else:
            names.append(_CANONICAL.get(word) or _CANONICAL.get(word.removesuffix("s")))
    return (names[0], power) if len(names) == 1 and names[0] else None


def units_conflict(left: str, right: str) -> bool:
    """5 cents is not 5 dollars; an unknown or missing unit never conflicts."""
    if not left or not right:
        return False
    known = canonical(left), canonical(right)
    return None not in known and known[0] != known[1]
