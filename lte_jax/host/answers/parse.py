"""From a normalised answer to a tree: words as words, everything else by the grammar with the table of commands."""

from lte_jax.host.answers.commands import HANDLERS
from lte_jax.host.answers.grammar import Parser
from lte_jax.host.answers.limits import MAX_HEIGHT
from lte_jax.host.answers.series import with_values
from lte_jax.host.answers.syntax import Node, TooLarge, Unreadable, height
from lte_jax.host.answers.tokens import tokenise
from lte_jax.host.answers.words import plain_words


def parse(text: str, thousands: bool = True) -> Node:
    """Read a normalised answer. `thousands`: read 1,234 as one number. Raises Unreadable or TooLarge."""
    if not text:
        raise Unreadable("it is empty")
    if (words := plain_words(text)) is not None:
        return words
    node = Parser(tokenise(text, thousands), HANDLERS).whole()
    node = with_values(node)
    if height(node) > MAX_HEIGHT:
        raise TooLarge(f"a tree higher than {MAX_HEIGHT}")
    return node
