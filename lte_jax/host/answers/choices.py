"""Which letter of a multiple-choice question a response picks, where no marker says it."""

import re

from lte_jax.host.answers.markers import DISOWNED

_PICKED = re.compile(
    r"\\text(?:bf)?\{\(?([A-J])\)?\.?\}|\(([A-J])\)|(?<=\*\*)\(?([A-J])\)?[.:)]?(?=\*\*)"
    r"|(?i:\b(?:option|choice|answer)) \(?([A-J])\b\)?"
    r"|(?i:\b(?:it['’]s|it is|it must be|is|be|pick|choose|select|go with|going with|chose|leaves|leaving|goes to))"
    r" (?:option |choice )?\(?([A-HJ])\)?(?=[.,;:!)]|\s{0,3}\Z|\n|\s(?:because|since|as)\b)"
)
_NOT = re.compile(
    r"(?i)(?:\bnot|n['’]t(?: be)?|\bcannot(?: be)?|\bnever|\bneither|\bnor|\brather than|\binstead of|\bexcept|\bunlike"
    r"|\beliminat\w{1,5}|\brules? out|\bruled out|\bexclud\w{1,4}|\breject\w{0,3}|\bdiscard\w{0,3})"
    r"\s{0,2}[(*]{0,3}(?:option |choice |be )?\(?\Z"
)
_IS_OUT = re.compile(
    r"[)*]{0,3}\s(?:(?:is|was|are|would be|looks|seems) (?:not|wrong|incorrect|false|out|eliminated|excluded|ruled out"
    r"|impossible|too|tempting)\b|(?:isn|can|does|doesn|won)['’]?(?:t|not)\b)"
)
_ALTERNATIVE = re.compile(r"(?:\b(?:or|and|either)|,)\s{0,2}[(*]{0,3}(?:option |choice )?\(?\Z")
_OR_ANOTHER = re.compile(r"[)*]{0,3},?\s(?:or|and) [(*]{0,3}[A-J]\b")
_LEADING = re.compile(r"\s{0,8}[*_(]{0,3}([A-J])[*_)]{0,3}(?:[,.;:]|\s?[-–—](?=\s)|(?<=\)))\s{1,4}(?=\S)")
_OTHER = re.compile(
    r"(?<![\w'’$\\])\(?([A-HJ])\)?(?![\w'’])(?!\s[a-z])|(?<=\()([A-J])(?=\))|(?<![\w'’])[B-H](?=\s[a-z])"
)
_CLAUSE_END = re.compile(r"[.;\n]")
_SENTENCE_START = re.compile(r"\n|[.;] ")
_MAX_CHARS = 4_000
_NEGATION = re.compile(r"(?i)\bnot\b|n['’]t\b|\bcannot\b|\brather than\b|\binstead of\b|\bunlike\b|\bneither\b|\bnor\b")


def last_choice(text: str) -> tuple[str, int] | None:
    """The letter that is picked last, and where it ends; letters that are ruled out are none."""
    found, last_end = None, -100
    for match in _PICKED.finditer(text):
        place = next(place for place in range(1, len(match.groups()) + 1) if match[place])
        before = text[max(0, match.start() - 32) : match.start()]
        inside = text[match.start() : match.start(place)]
        near, last_end = match.start() - last_end < 16, match.end()
        if _OR_ANOTHER.match(text, match.end(place)) or (near and _ALTERNATIVE.search(before)):
            found = None  # (A) or (B)
        elif not (
            _NOT.search(before)
            or _NOT.search(inside)
            or _IS_OUT.match(text, match.end(place))
            or DISOWNED.search(_SENTENCE_START.split(before)[-1])
        ):
            found = match[place], match.end()
    return found


def leading_choice(text: str) -> str | None:
    """`B` of "B, since 3 + 4 = 7": the letter that a response begins with, where no other letter is in question."""
    match = _LEADING.match(text)
    if match is None or _IS_OUT.match(text, match.end(1)) or (match[1] == "I" and "(" not in match.group()):
        return None
    rest = text[match.end() :]
    for clause in _CLAUSE_END.split(rest[:_MAX_CHARS]):
        other = _OTHER.search(clause)
        if other and not _NEGATION.search(clause[: other.start()]):
            return None
    return match[1]
