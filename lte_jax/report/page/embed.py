"""Data inside an HTML page: JSON in a script element that cannot end it, and cannot become markup."""

import json

# What could end the element, open another or a comment, and what old JavaScript took for line ends.
ESCAPED = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def script_json(value: object) -> str:
    """`value` as JSON for <script type="application/json">; JSON.parse gives it back. Raises ValueError at NaN."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(ESCAPED)


def n_bytes(text: str) -> int:
    """In the file, where half a surrogate pair is written as its escape."""
    return len(in_file(text))


def in_file(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
