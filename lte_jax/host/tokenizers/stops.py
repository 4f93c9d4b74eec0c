"""Stop strings: text that ends a response. The sampler stops on tokens; text is looked at here, after each chunk.

A response is cut behind the token that completes a stop string, never inside a token. Where to stop follows from the
tokens drawn so far alone, so what is kept was drawn as its log-probs say; nothing is recomputed.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

_MARGIN = 8  # characters: a tokenizer may decode the first token of a window without its blank


class StopStrings:
    """Finds the end of a response. `decode`: a tokenizer's."""

    def __init__(self, strings: Sequence[str], decode: Callable[[Sequence[int]], str]):
        self._strings, self._decode = tuple(strings), decode
        self._before = max(map(len, strings)) + _MARGIN  # characters that a string may have before the new tokens

    def cut(self, tokens: Sequence[int], n_seen: int) -> int | None:
        """How many tokens are kept: up to and with the one that completes the first stop string; None: no string.

        `n_seen`: tokens that were looked at before, or given. Only a window is decoded. What is given may hold a stop
        string, which ends nothing: the window then begins behind it.
        """
        start = self._window(tokens, n_seen)
        if not self._found(tokens[start:]):
            return None
        if self._found(tokens[start:n_seen]):
            starts = range(start, n_seen + 1)
            start = starts[bisect_left(starts, True, key=lambda start: not self._found(tokens[start:n_seen]))]
            if not self._found(tokens[start:]):
                return None
        ends = range(n_seen + 1, len(tokens) + 1)
        return ends[bisect_left(ends, True, key=lambda end: self._found(tokens[start:end]))]

    def _window(self, tokens: Sequence[int], n_seen: int) -> int:
        """Where to start, so that the tokens before the new ones spell enough; some spell nothing."""
        n_back = self._before
        while n_back < n_seen and len(self._decode(tokens[n_seen - n_back : n_seen])) < self._before:
            n_back *= 2
        return max(0, n_seen - n_back)

    def _found(self, tokens: Sequence[int]) -> bool:
        text = self._decode(tokens)
        return any(string in text for string in self._strings)
