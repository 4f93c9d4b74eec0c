"""Special tokens that a text spells (`<|im_end|>`): the token where the user wrote it, text where anyone else did.

Parts become one string, so that tokens merge across the joints. A BREAK is put into each spelling that touches an
untrusted part; then the remaining ones, and they alone, are given to the tokenizer under names that no text has.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tokenizers import Tokenizer

# Private use characters drawn anew by each process: no text spells them, and no filter of a chat template changes them.
_SECRET = "".join(chr(0xE100 + byte) for byte in secrets.token_bytes(12))
BREAK = f"\ue000{_SECRET}\ue001"


class Part(NamedTuple):
    """A piece of a prompt. `trusted`: the user wrote it, so it may spell special tokens."""

    text: str
    trusted: bool


class Spelling(NamedTuple):
    """Where a text spells a special token, characters."""

    token: int
    start: int
    end: int


Find = Callable[[str], Iterable[Spelling]]


def guard(parts: Sequence[Part], find: Find) -> str:
    """The parts as one string, with a BREAK inside each spelling that touches an untrusted part."""
    text = "".join(part.text for part in parts)
    whose = "".join(("t" if part.trusted else "u") * len(part.text) for part in parts)
    while True:
        cuts = [found.start + 1 for found in find(text) if "u" in whose[found.start : found.end]]
        if not cuts:
            return text
        text, whose = _insert(text, BREAK, cuts), _insert(whose, "t" * len(BREAK), cuts)


def private_names(tokens: Iterable[int]) -> dict[int, str]:
    """A name for each token that nothing but `renamed` writes."""
    return {token: f"\ue002{_SECRET}{token}\ue003" for token in tokens}


def renamed(text: str, find: Find, names: dict[int, str]) -> str:
    """The guarded text with its special tokens by their private names, and without the BREAKs."""
    pieces, last = [], 0
    for token, start, end in find(text):
        pieces += [text[last:start], names[token]]
        last = end
    return "".join([*pieces, text[last:]]).replace(BREAK, "")


def renamed_backend(backend: Tokenizer, names: dict[int, str]) -> tuple[Tokenizer, dict[int, int]]:
    """The tokenizer with its special tokens under other names, and their ids there -> here.

    What the old names spell is then text like any other, in the same pre-tokenisation and with the same merges."""
    document = json.loads(backend.to_str())
    new = {token["content"]: names[token["id"]] for token in document["added_tokens"] if token["id"] in names}
    ids = {token["content"]: token["id"] for token in document["added_tokens"]}
    for token in document["added_tokens"]:
        if token["content"] in new:
            token |= {"content": new[token["content"]], "normalized": False, "single_word": False}
    model = document["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {new.get(piece, piece): id_ for piece, id_ in model["vocab"].items()}
    else:  # Unigram: pieces with their scores
        model["vocab"] = [[new.get(piece, piece), score] for piece, score in model["vocab"]]
    if "merges" in model:
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        model["merges"] = [pair for pair in pairs if new.keys().isdisjoint([*pair, "".join(pair)])]
    if model.get("unk_token") in new:
        model["unk_token"] = new[model["unk_token"]]
    made = Tokenizer.from_str(json.dumps(document | {"post_processor": None}))
    return made, {made.token_to_id(new.get(content, content)): id_ for content, id_ in ids.items()}


def _insert(text: str, what: str, places: Sequence[int]) -> str:
    """`what` put into the text at each of these places, which rise."""
    ends = [*places, len(text)]
    return text[: ends[0]] + "".join(what + text[start:end] for start, end in zip(ends, ends[1:], strict=False))
