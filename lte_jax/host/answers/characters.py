"""Characters of Unicode as the LaTeX that stands for them: signs, Greek, fractions, raised and lowered digits."""

import unicodedata
from fractions import Fraction

from lte_jax.host.answers.tokens import GREEK

_CHARACTERS = {
    **dict.fromkeys("−–—‒﹣－", "-"),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f", ""),
    **dict.fromkeys("×✕", r"\times "), "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "•": r"\cdot ", "∗": "*",
    "÷": r"\div ", "∕": "/", "⁄": "/", "∶": ":",
    "√": r"\sqrt ", "∛": r"\sqrt[3] ", "π": r"\pi ", "∞": r"\infty ", "°": r"^\circ ", "±": r"\pm ", "∓": r"\mp ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "∖": r"\setminus ", "∠": r"\angle ", "△": r"\triangle ",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "⟨": r"\langle ", "⟩": r"\rangle ",
    "º": r"^\circ ", "˚": r"^\circ ", "℃": r"^\circ C", "℉": r"^\circ F", "、": ",", "。": ".", "⋯": "...", "∣": "|",
    "ℏ": r"\hbar ", "ℓ": r"\ell ", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "∜": r"\sqrt[4] ",
    "∑": r"\sum ", "∏": r"\prod ", "≡": r"\equiv ", "∧": r"\land ", "∨": r"\lor ", "⊤": r"\top ", "ϵ": r"\epsilon ",
    "ϕ": r"\phi ", "ϑ": r"\theta ", "ς": r"\sigma ", "µ": r"\mu ", "Ω": r"\Omega ", "∆": r"\Delta ",
    "′": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "…": "...",
    **dict.fromkeys("€£¥₹￥", ""), "¢": r"\text{cent}",
}  # fmt: skip
_FRACTIONS = {char: Fraction(unicodedata.numeric(char)).limit_denominator(10) for char in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"}
_CHARACTERS |= {char: rf"\frac{{{part.numerator}}}{{{part.denominator}}}" for char, part in _FRACTIONS.items()}
for _char in map(chr, [*range(0x391, 0x3AA), *range(0x3B1, 0x3CA)]):  # from GREEK CAPITAL LETTER ALPHA
    _words = unicodedata.name(_char, "").lower().replace("lamda", "lambda").split()
    _name = _words[-1].capitalize() if "capital" in _words else "".join(_words[-1:])
    if _name in GREEK:
        _CHARACTERS.setdefault(_char, rf"\{_name} ")
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻"
_CHARACTERS |= {char: f"^{{{plain}}}" for char, plain in zip(_SUPERSCRIPTS, "0123456789+-", strict=True)}
_CHARACTERS |= {char: f"_{{{digit}}}" for digit, char in enumerate("₀₁₂₃₄₅₆₇₈₉")}
AS_LATEX = str.maketrans(_CHARACTERS)
