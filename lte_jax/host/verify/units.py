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
_COMPOUNDS = {"mph": (("mi", 1), ("h", -1))}
_POWERS = {"square": "2", "sq": "2", "squared": "2", "cubic": "3", "cubed": "3"}


def canonical(unit: str) -> tuple[tuple[str, int], ...] | None:
    """((unit, power), …) of known units, `m/s` or `miles per hour` included; None where one is not known."""
    if unit.startswith("mod "):
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


def units_conflict(left: str, right: str) -> bool:
    """5 cents is not 5 dollars; an unknown or missing unit never conflicts."""
    if not left or not right:
        return False
    known = canonical(left), canonical(right)
    return None not in known and known[0] != known[1]
