r"""What announces a final answer, in the languages of responses: "the answer is", `Réponse :`, `答案是`, `####`.

Tables of words, compiled once. All quantifiers are bounded, so that no input can make a pattern slow.
"""

import re
import unicodedata

_FULL_WIDTH = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_DIGITS = {
    char: str(unicodedata.decimal(char))
    for char in map(chr, (*range(128, 0x10000), *range(0x1D7CE, 0x1D800)))
    if unicodedata.decimal(char, None) is not None
}
_MARKS = {"、": ",", "،": ",", "٫": ".", "٬": ",", "٪": "%", "﹪": "%", "۔": "。", "।": "。", "｡": "。", "\u3000": " "}
_MARKS |= {"？": "?", "؟": "?", "！": "!", "\u00a0": " ", "\u202f": " ", "ः": ":", "ঃ": ":"}
_TABLE = str.maketrans(_FULL_WIDTH | _DIGITS | _MARKS)

_VERB = (
    r"(?:(?:is|are|was|were|be|equals?|(?:must|should|would|will) be|comes? out to(?: be)?|turns out to be|seems to be"
    r"|works out to(?: be)?)(?![\w'’])|[:=])"
)
_MODAL = r"(?:can|could|may|might|must|should|would|will|do|does|did)"
_NEGATED_VERB = (
    r"(?:(?:is|are|was|were)n['’]t|(?:can|could|wo|would|should|must|do|does|did)n['’]t(?: be| equal)?"
    rf"|cannot(?: be| equal)?|{_MODAL} not(?: be| equal)?|(?:could|may|might|can) be|can['’]t be)(?![\w'’])"
)
_ENGLISH = (
    r"\b(?:answers?|option|choice)\b[*_\"”)]{0,3}(?:,\s(?:then|therefore|thus|hence),)?\s{0,3}"
    r"(?:(?:to|for|of)\s[^.\n]{1,80}?\s)?(?:(?:must|should|would|will|then|therefore|thus|clearly)\s){0,2}"
    rf"(?:{_VERB}|(?P<negated>{_NEGATED_VERB}))|\bsolutions?\s(?:is|are)\b(?!n)|####"
)
_NOUNS = (
    "réponse reponse résultat respuesta solución resultado antwort endergebnis ergebnis lösung resposta solução "
    "risposta risultato soluzione antwoord odpowiedź odpowiedz cevap yanıt sonuç jawaban jawapan đáp\\sán đáp\\ssố "
    "svar vastaus válasz odpověď răspunsul răspuns jibu sagot ответ ответом відповідь απάντηση"
).split()
_VERBS = (
    "est vaut es ist lautet beträgt é è jest adalah ialah là är este είναι равен равно это является будет дорівнює"
).split()
_WESTERN = (
    rf"(?<![^\W_])(?:{'|'.join(_NOUNS)})(?![^\W_])[*_]{{0,3}}(?:\s[^\W\d_]{{1,12}}){{0,4}}?\s{{0,2}}"
    rf"(?:(?:{'|'.join(_VERBS)})(?![^\W_])|[:=—–])"
)
_EASTERN = (
    r"(?P<denied>答案(?:并|並|绝|絕)?(?:不|非))|答案(?:应该|應該|应|應)?\s?(?:是|为|為|等于|等於|选|選|:)"
    r"|(?:结果|結果)(?:是|为|為|:|は)|(?:故|应|應)(?:选|選)|答\s?:"
    r"|(?:答え|解答|正解|回答)\s?(?:は|:)|(?:정답|답안|답변|답)\s?(?:은|는|:)"
    r"|(?:الجواب|الإجابة|إجابة|جواب|الناتج|پاسخ)(?:\s\S{1,12}){0,2}?\s{0,2}(?:هو|هي|يساوي|:)"
    r"|उत्तर\s?(?::|है|(?=[0-9$]))|উত্তর\s?(?::|হল|হলো)|సమాధానం\s?:|பதில்\s?:|คำตอบ\s?(?:คือ|:)|תשובה\s?(?:היא|:)"
)
_MARKER = re.compile(rf"(?i)(?:{_ENGLISH}|{_WESTERN}|{_EASTERN})[\s:*_]{{0,8}}")
_STEMS = ("answer", "option", "choice", "solution", "####", *(noun for noun in _NOUNS if noun.isascii()))
_OTHER_STEMS = (
    *(noun.replace("\\s", " ") for noun in _NOUNS if not noun.isascii()),
    *"答 结果 結果 故选 故選 应选 應選 解答 正解 回答 답 الجواب الإجابة إجابة جواب الناتج پاسخ".split(),
    *"उत्तर উত্তর సమాధానం பதில் คำตอบ תשובה".split(),
)

# said in the sentence before a marker: the answer that follows is not the writer's own
DISOWNED = re.compile(
    r"(?i)(?:\bnot|n['’]t|\bnever) (?:think|believe|say|mean|claim|know)\b"
    r"|\b(?:if|suppose|assume|whether|unless|until|doubt|wrong|incorrect|false|previous|earlier|initial|naive|trivial"
    r"|no longer|is it true|expected|why)\b|(?<!only )\b(?:possible|potential|candidate|plausible)\s{0,2}\Z"
    r"|не думаю|如果|假设|若|もし|\bnicht\b|\bn['’]est pas\b|\bno creo\b"
)

TAKEN_BACK = re.compile(  # said after an answer
    r"(?i)\b(?:wait|just kidding|or rather|make that|but now it is|actually|correction|scratch that|on second thought"
    r"|sorry|oops|hmm|(?:a|my|made a) mistake"
    r"|(?:that|this|it)(?: is|['’]s) (?:wrong|incorrect|not right|not correct)"
    r"|(?:that|this|it) (?:can['’]t|cannot) be)\b"
    r"|等等|不对|不對|错了|錯了"
)


def last_markers(text: str, n: int) -> list[re.Match]:
    """The last n markers of a text, the last one first. A stem is looked for first: much faster than the pattern.

    The groups `negated` and `denied` hold a negation that belongs to the marker: "the answer isn't", `答案不`.
    """
    lower = text.lower()
    lower = lower if len(lower) == len(text) else text
    places = set()
    for stem in _STEMS if text.isascii() else _STEMS + _OTHER_STEMS:
        at = lower.rfind(stem)
        for _ in range(8 * n):
            if at < 0:
                break
            places.add(at)
            at = lower.rfind(stem, 0, at + len(stem) - 1)
    found, begin = [], len(text)
    for place in sorted(places, reverse=True):
        match = _MARKER.match(text, place)
        if match and match.end() <= begin:
            found.append(match)
            begin = match.start()
        if len(found) == n:
            break
    return found


def in_ascii(text: str) -> str:
    """The text with digits of every script and full-width punctuation as ASCII, as long as before; `।` is `。` too."""
    return text if text.isascii() else text.translate(_TABLE)
