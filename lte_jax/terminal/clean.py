"""Text of models and problems, made fit for a terminal."""

import unicodedata


def clean(text: str) -> str:
    """Without control and format characters, which could move a terminal's cursor or reorder its text."""
    return "".join(c for c in text if c in "\n\t" or not unicodedata.category(c).startswith("C"))


def clipped(text: str, most: int) -> str:
    """`clean`, on one line, of at most `most` characters: the middle of a longer text is left out."""
    line = " ".join(clean(text).split())
    if len(line) <= most:
        return line
    head = (most - 3) // 2
    return f"{line[:head]} … {line[len(line) - (most - 3 - head) :]}"
