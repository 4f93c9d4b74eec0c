"""Tokens as a person reads them: for the dry run, where text alone does not say what the model is given."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from lte_jax.host.tokenizers.tokenizer import Tokenizer
from lte_jax.records import Problem

SHOWN = 160  # characters of a run of text


def token_lines(ids: Sequence[int], tokenizer: Tokenizer) -> Iterator[str]:
    """A line for each special token and for each run of text between them; none where all of it is text."""
    if tokenizer.special_ids.isdisjoint(ids):
        return
    for is_special, run in groupby(ids, tokenizer.special_ids.__contains__):
        tokens = list(run)
        if is_special:
            yield from (f"{tokenizer.spelling(token)} = {token}" for token in tokens)
        else:
            yield f"{_shortened(tokenizer.decode(tokens))!r}: {len(tokens)} tokens of text"


def spelled_in(problems: Sequence[Problem], tokenizer: Tokenizer) -> dict[str, str]:
    """Id of a problem -> a special token that its text spells, which stays text."""
    names = [tokenizer.spelling(token) for token in sorted(tokenizer.special_ids)]
    found = {}
    for problem in problems:
        if name := next((name for name in names if name in problem.text), None):
            found[problem.id] = name
    return found


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} ... {text[-SHOWN // 2 :]}"
