"""The tokens of one answer and a place in them: what the parser looks at next, takes, or insists on."""

from lte_jax.host.answers.syntax import Unreadable
from lte_jax.host.answers.tokens import Token


class Stream:
    """Ends in a token of kind `end`, which is never passed."""

    def __init__(self, tokens: list[Token]):
        self._tokens = tokens
        self._at = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    @property
    def previous(self) -> Token:
        """The token taken last; at the start the first."""
        return self._tokens[max(0, self._at - 1)]

    def ahead(self, n: int) -> list[Token]:
        """At most n tokens that come next."""
        return self._tokens[self._at : self._at + n]

    def put_back(self, token: Token) -> None:
        """Makes `token` the next one, in place of the one taken last: `\\frac12` reads one digit at a time."""
        self._at -= 1
        self._tokens[self._at] = token

    def skip(self, n: int) -> None:
        self._at = min(self._at + n, len(self._tokens) - 1)

    def take(self) -> Token:
        token = self._tokens[self._at]
        self._at += token.kind != "end"
        return token

    def sees(self, *texts: str) -> bool:
        return self.next.kind in ("char", "cmd") and self.next.text in texts

    def accept(self, *texts: str) -> Token | None:
        return self.take() if self.sees(*texts) else None

    def expect(self, *texts: str) -> Token:
        if not self.sees(*texts):
            raise Unreadable(f"wanted {' or '.join(texts)}, got {self.next.text or 'the end'!r}")
        return self.take()

    def raw_group(self) -> str:
        """A braced group or one token as plain text: subscripts, accents, environment names."""
        if not self.accept("{"):
            return self.take().text
        parts, level = [], 1
        while level:
            token = self.take()
            if token.kind == "end":
                raise Unreadable("a brace is not closed")
            level += (token.text == "{") - (token.text == "}") if token.kind == "char" else 0
            parts.append(token.text)
        return "".join(parts[:-1])

    def until(self, close: str) -> list[Token]:
        """What stands before the `close` command of this level: a look, nothing is taken."""
        level, found = 0, []
        for token in self._tokens[self._at :]:
            if token.kind == "cmd" and token.text == close and level == 0:
                return found
            level += (token.text == "lbrace") - (token.text == "rbrace") if token.kind == "cmd" else 0
            found.append(token)
        raise Unreadable(f"{close} is missing")
