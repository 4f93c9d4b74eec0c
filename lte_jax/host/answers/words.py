"""Answers in plain words: names, yes and no, numbers, "no solution", "all real numbers"."""

import re

from lte_jax.host.answers.numerals import word_value
from lte_jax.host.answers.syntax import INFINITY, REALS, Node
from lte_jax.host.answers.tokens import FUNCTIONS, GREEK, WORDS

_EMPTY = frozenset(
    {"none", "empty set", "the empty set", "null set", "no solution", "no solutions", "no real solution"}
    | {"no real solutions", "no such solution", "no solution exists", "no solutions exist", "there is no solution"}
    | {"there are no solutions", "there are no real solutions", "no roots", "no real roots"}
)
_REALS = frozenset(
    {"all real numbers", "all reals", "all real", "real numbers", "the real numbers", "the reals", "every real number"}
    | {"the set of all real numbers", "set of all real numbers", "all real values"}
)
_SYNONYMS = {"dne": "does not exist", "doesn't exist": "does not exist", "do not exist": "does not exist"}
_ARTICLE = re.compile(r"(?:an?|the) (?=\w{2})")
_PLAIN = re.compile(r"(?:\\text ?\{)? ?([A-Za-z][A-Za-z' \-,]*[A-Za-z.]) ?\}?")
_STARTS_WITH_FUNCTION = re.compile(r"(?:a?r?c?(?:sin|cos|tan)h?|cot|sec|csc|ln|log|sqrt|exp)(?:\b|[a-z]\Z)")
_JOINT = re.compile(r" ?, ?(?:and |or )?| (?:and|or) ")


def words_of(text: str) -> str:
    """Case, spaces, articles and the final stop do not matter."""
    words = " ".join(text.casefold().strip(" .,!").split())
    return _SYNONYMS.get(words, _ARTICLE.sub("", words, count=1) if _ARTICLE.match(words) else words)


def meaning(text: str) -> Node:
    """The node for plain words: a number, a set, a list of names, else the words themselves."""
    words = words_of(text)
    if words in _EMPTY or (words.startswith("no ") and words.endswith(("solution", "solutions"))):
        return Node("set")
    if words in _REALS:
        return REALS
    if words in ("infinity", "positive infinity"):
        return INFINITY
    if (value := word_value(words)) is not None:
        return Node("num", value=value)
    if words.startswith("negative ") and (value := word_value(words.removeprefix("negative "))) is not None:
        return Node("num", value=-value)
    parts = [part for part in _JOINT.split(words) if part]
    if len(parts) > 1:
        return Node("list", tuple(meaning(part) for part in parts))
    return Node("text", value=words)


_LABELLED = re.compile(r"([A-Za-z]{3,12})\.? ([0-9]{1,4})(?:,? ([0-9]{4}))?")
_DAY_FIRST = re.compile(r"([0-9]{1,2}) ([A-Za-z]{3,9})\.?,? ([0-9]{4})")
_MARKS = re.compile(r"\\text|[{}~]")
_MONTHS = "january february march april may june july august september october november december".split()


def labelled(text: str) -> Node | None:
    """`May 5`, `\\text{June }20, 2010`, `Grade 7`: a word with its number; None for a function or anything else."""
    if len(text) > 60 or not text[-1:].isdigit() and not text.endswith("}"):
        return None
    plain = " ".join(_MARKS.sub(" ", text).replace(" ,", ",").split())
    if (day := _DAY_FIRST.fullmatch(plain)) and any(month.startswith(day[2].casefold()) for month in _MONTHS):
        plain = f"{day[2]} {day[1]}, {day[3]}"  # 20 June 2010
    match = _LABELLED.fullmatch(plain)
    if match is None:
        return None
    word = match[1].casefold()
    if word in FUNCTIONS or word in GREEK or word in WORDS or "sqrt" in word or not re.search("[aeiouy]", word):
        return None
    months = [month for month in _MONTHS if month.startswith(word)]
    return Node("text", value=" ".join([months[0] if months else word, *filter(None, match.groups()[1:])]))


def plain_words(text: str) -> Node | None:
    """The meaning of an answer that is words alone; None where its letters are variables or functions."""
    match = _PLAIN.fullmatch(text)
    if match is None:
        return labelled(text)
    content = match.group(1).strip()
    in_text = text.startswith("\\text")
    is_name = content in FUNCTIONS or content in GREEK or content in WORDS or content in ("dx", "dy", "dt")
    is_short = (len(content) <= 2 and content.casefold() != "no") or (len(content) == 3 and not content.isalpha())
    if not in_text and (is_name or is_short or _STARTS_WITH_FUNCTION.match(content)):
        return None
    if _single_letters(content):
        return None
    return meaning(content)


def _single_letters(content: str) -> bool:
    """`x or y`, `a b c`: single letters and joining words are variables."""
    parts = content.replace(",", " ").split()
    return len(parts) > 1 and all(len(word) == 1 or word in ("or", "and", "pi") for word in parts)
