"""Where a response may be forked: which of its tokens were the most surprising ones."""

from lte_jax.records import Given, Kind, Rollout, Span


def surprising(rollout: Rollout, n: int, taken: frozenset[int] = frozenset()) -> list[int]:
    """The n places of the drawn tokens of least log-prob, the most surprising first. -log p of a drawn token is an
    estimate of the entropy there, which the sampler does not return. Never the first token: a fork there is a new
    response."""
    logp = rollout.response.behaviour_logp
    places = [place for place in range(max(1, rollout.n_given), len(logp)) if place not in taken]
    return sorted(places, key=lambda place: (float(logp[place]), place))[:n]


def untrained(given: Given) -> Given:
    """The same beginning, which is only read."""
    return Given(given.tokens, given.behaviour_logp, given.sampled_logp, (Span(len(given), Kind.UNTRAINED),))
