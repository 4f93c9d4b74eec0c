r"""Words that change what a number beside them says, "less than 8", `8 squared`, `42以上`, and words that do not.

Tables of words by language, compiled once. All quantifiers are bounded, so that no input can make a pattern slow.
"""

import re

# a letter of another script; Greek and the mathematical alphabets are mathematics
FOREIGN = r"[\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u024F\u0400-\u1FFF\u3040-\u30FF\u3400-\u9FFF\uAC00-\uD7AF]"
_IDEOGRAPH = r"[\u3040-\u30FF\u3400-\u9FFF\uAC00-\uD7AF\u0E00-\u0E7F]"  # without spaces, or with suffixes

_COMPARED = (
    "less more fewer greater larger smaller bigger higher lower older younger longer shorter earlier later taller "
    "farther further better worse"
).split()
_BOUNDS = (
    rf"(?:{'|'.join(_COMPARED)}|other|rather|different) (?:than|from)(?: or equal to)?"
    r"|at (?:least|most|minimum|maximum)|up to|(?:a|the|an upper|a lower) (?:bound|limit) of|below|above|under|over"
    r"|beyond|exceed(?:s|ed|ing)?|within|between|in the range|ranges?|(?:minimum|maximum|excess) of|near(?:ly)?"
    rf"|close to|almost|short of|approach(?:es|ing)?|bounded (?:above |below )?by"
    rf"|(?:{'|'.join(_COMPARED)}) or equal(?: to)?"
    r"|differs? from|(?:coprime|prime|congruent|proportional|parallel|perpendicular|adjacent) to|used to be"
    r"|(?:ends?|begins?|starts?) (?:in|with)"
)
_OF = (
    "square cube root roots reciprocal inverse logarithm log factorial multiple multiples divisor divisors factor "
    "factors power powers digits remainder percent % out complement negation opposite instead part"
).split()
_OPERATIONS = (
    rf"(?:{'|'.join(_OF)}) of|twice|thrice|double|triple|half(?: of)?|(?:a|one) (?:third|quarter|fourth|fifth|tenth) of"
    r"|negative|minus|plus|modulo|divided by|multiplied by|times|choose|mod|divides|divisible by|to the power"
)
_DOUBTS = (
    r"not|cannot|never|neither|nor|without|except|excluding|either|one of|none|some of|any of|unknown|unclear|perhaps"
    r"|maybe|possibly|wrong|incorrect|impossible|reject(?:s|ed)?|rules? out|ruled out|eliminat(?:e|es|ed)"
    r"|exclud(?:e|es|ed)|ignore|unlike|(?:anything|all|any \w{1,12}|every \w{1,12}) but|a dozen"
)
_LABELS = (  # step 7, equation (7), July 7
    "step equation eq\\. theorem lemma case page line figure table question problem exercise chapter section example "
    "method rule property base room item row column January February March April May June July August September "
    "October November December"
).split()
_ENGLISH = rf"{_BOUNDS}|{_OPERATIONS}|{_DOUBTS}"
_WORDS = {  # not, less, more, between, or, half, square, root, thousand, million …
    "French": "pas non(?!-) ni jamais moins plus entre ou supérieure? inférieure? moitié carré racine mille milliers",
    "Spanish": "no nunca menos más mayor menor o mitad doble cuadrado raíz mil millones hasta",
    "German": "nicht kein keine weniger mehr größer kleiner mindestens höchstens zwischen oder bis unter über hälfte "
    "doppelte quadrat wurzel tausend millionen hundert dutzend",
    "Portuguese": "não mais maior metade dobro quadrado raiz milhares milhões até",
    "Italian": "meno più maggiore minore tra fra metà doppio quadrato radice mila milioni almeno",
    "English, several": "millions thousands hundreds dozens",
    "Indonesian": "bukan tidak kurang lebih atau antara",
    "Vietnamese, Turkish": "không hoặc hơn değil veya fazla",
    "Polish, Dutch": "nie lub mniej więcej niet geen minder meer tussen",
    "Russian": "не нет ни или либо больше меньше более менее свыше выше ниже между от до половина половины вдвое втрое "
    "дважды удвоенное квадрат квадрата квадрате корень корня куб куба кубе степени плюс минус тысяч тысячи тысяча "
    "миллион миллиона миллионов сот процент процента процентов раз раза",
    "Arabic": "ليس ليست لا أكثر أقل أكبر أصغر بين أو نصف ضعف مربع جذر ألف آلاف مليون مئة مائة الأقل الأكثر فوق تحت "
    "حتى إلى",
    "Hindi": "नहीं या अधिक कम ज़्यादा बीच आधा दोगुना वर्ग हज़ार हजार लाख करोड़ सौ तक",
}
_OTHER = "|".join(word for words in _WORDS.values() for word in words.split())
_PARTS = (  # the same where no spaces stand between words
    r"不(?:是|为|為|到|足|会是|可能是|等于|等於)?|非|没|沒|未|否|小于|小於|大于|大於|少于|少於|多于|多於|超(?:过|過|え)?"
    r"|以上|以下|以内|以內|以外|至少|至多|最多|最少|低于|低於|高于|高於|介于|之间|之間|或|还是|還是|至|到"
    r"|万|萬|亿|億|千(?![米克瓦])|百(?!分)|十|分之|分の|倍|半|(?:平方|立方)(?![米厘公千分毫メセミ])|次方|次幂|根"
    r"|的|の|乘|乗|加|减|減|除|より|または|あるいは|ない|ません|じゃ|余|足らず|ほど"
    r"|아니|아닙|보다|이상|이하|미만|초과|또는|사이|제곱|배|천|만|억|백|절반|ไม่|หรือ|กว่า"
)
UNSAFE = re.compile(rf"(?i)(?<![^\W_])(?:{_ENGLISH}|{_OTHER})(?![^\W_]|-)|n['’]t\b|{_PARTS}")
_LINK = (
    r"(?:\s{1,2}(?:the|a|an|about|exactly|equal to|be|being|just|only|quite|really|necessarily|always"
    r"|numbers?|integers?|values?|of)){0,3}"
)
UNSAFE_BEFORE = re.compile(
    rf"(?i)(?:(?<![^\W_])(?:{_ENGLISH}|{_OTHER}|{'|'.join(_LABELS)}"
    rf"|[0-9]{{1,9}} (?:of(?: the| all| these| those)?|to the))"
    rf"|n['’]t|{_PARTS}){_LINK}[\s$€£(*]{{0,4}}\Z"
)
_ORDINALS = "thousandth hundredth tenth third quarter fourth fifth sixth seventh eighth ninth".split()
_VERDICTS = (
    "not a\\sguess n['’]t too wrong incorrect false impossible excluded eliminated ruled\\sout rejected out never "
    "above below extraneous invalid"
).split()
UNSAFE_AFTER = re.compile(
    r"(?i)-[a-z]{2}|(?:st|nd|rd|th)\s[a-z]|[\s$)*]{0,4}(?:(?:fails?|squared|cubed|minus|plus|choose|factorial"
    r"|modulo|mod|divided by"
    r"|multiplied by|or|nor|to the"
    r"|if|when|unless|otherwise|but|with|and remainder|remainder|as long as"
    rf"|to [0-9]|(?:{'|'.join(_COMPARED)})(?=\s{{1,2}}than)|and an? (?:half|third|quarter|bit)"
    r"|of the list|times (?:[0-9a-z]|\$)|percent of|% of|out of|cannot|does not|can not|(?:is|are|was|does|can)n['’]t"
    rf"|(?:is|are|was|would be|seems?) (?:{'|'.join((*_VERDICTS, *_COMPARED))})|(?:{'|'.join(_ORDINALS)})s?|halves|half"
    rf"|doubled|tripled|halved)(?![^\W_])|\?|(?:\S{{1,12}}\s)?(?:{_OTHER})(?![^\W_])|{_IDEOGRAPH}{{0,6}}?(?:{_PARTS}))"
)
SCALE = re.compile(r"(?i)\s{1,2}(?:hundred|thousand|million|billion|trillion|dozen|percent)\b")

_UNITS = (
    "平方厘米 平方千米 平方公里 平方米 立方厘米 立方米 平方メートル センチメートル キロメートル メートル センチ キロ リットル グラム "
    "ドル ページ 小时 小時 分钟 分鐘 公里 公斤 厘米 毫米 千米 千克 美元 欧元 時間 ヶ月 か月 週間 年間 日間 か所 "
    "개월 시간 킬로미터 킬로그램 센티미터 미터 달러 가지 마리 사람"
).split()
_COUNTERS = (
    "个個名人只枚本元円圆圓岁歳年月日天周週时時分秒米度克升块塊辆輛条條张張种種次回通組组对對点點题題页頁箱瓶杯冊册台匹"
    "頭头羽位件双雙把颗顆棵朵支家间間所层層段排套袋盒包斤吨つ개명원번살분초년월일세권장대병그"
)
_ENDINGS = "です である だ となります になります になる となる 입니다 이다 이에요 예요 है हैं ครับ ค่ะ".split()
COUNTED = re.compile(  # 42个苹果, 42円です
    rf"\s?(?:(?:{'|'.join(_UNITS)}|[{_COUNTERS}]){_IDEOGRAPH}{{0,12}})?(?:{'|'.join(_ENDINGS)})?[。.!]?\s{{0,2}}\Z"
)
ENDING = re.compile(rf"\s?(?:{'|'.join(_ENDINGS)})[。.!\s]{{0,3}}\Z")
COPULA = re.compile(
    r"(?i)(?<![^\W_])(?:is|are|was|were|be|(?<!or )equals?|gives?|yields?|becomes?|makes?|est|vaut|es|ist|beträgt"
    r"|lautet|é|è"
    r"|jest|adalah|равен|равна|равно|есть|это|هو|هي|يساوي)(?![\w'’])(?:\s{0,2}[:=])?|=|≈|(?:是|为|為|等于|は|:)"
)
