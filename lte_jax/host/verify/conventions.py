"""What counts as equal where mathematics alone does not say, and the caps on what is read at all.

Each field of `Conventions` is a choice that another user may make differently.
"""

from dataclasses import dataclass

MAX_RESPONSE_CHARS = 262_144  # of a response only its last part is searched
MAX_ANSWER_CHARS = 4_000
MAX_TOKENS = 2_000
MAX_DEPTH = 32  # of brackets, fractions, roots, exponents
MAX_HEIGHT = 80  # of the tree that comes of it: a/b/c/d is as high as it is long
MAX_DIGITS = 1_000  # of one number as written, and its decimal exponent
MAX_BITS = 20_000  # of an exact number on the way: 2^20000, 2000!
MAX_ITEMS = 64  # of a list, set or tuple
MAX_TOWER = 3  # exponents inside exponents
MAX_EXPONENT = 100_000  # of a power that is only evaluated numerically
MAX_FACTORIAL = 3_000


@dataclass(frozen=True)
class Conventions:
    """How answers are compared."""

    relative_tolerance: float = 1e-4  # for a gold with a decimal point or an exponent; exact golds have none
    percent_is_decimal: bool = True  # gold 50% accepts 0.5; a gold without the sign never does
    degrees_optional: bool = True  # 90 matches 90 degrees, both ways
    units_optional: bool = True  # 5 matches 5 cm, both ways; 5 cm never matches 5 m
    list_is_unordered: bool = True  # 1, -2 matches -2, 1; a tuple in brackets is always ordered
    equation_gives_value: bool = True  # x = 5 matches 5, both ways
    choice_with_text: bool = True  # gold B accepts "B) the text of B"


DEFAULT = Conventions()
MATHEMATICAL = Conventions(relative_tolerance=0.0)  # for telling answers apart: 0.333 is not 1/3
