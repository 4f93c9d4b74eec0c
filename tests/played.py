"""Plays a strategy's rounds without a model: what each response says is scripted, groups are put together as the engine
does."""

from collections.abc import Callable
from dataclasses import replace

from handmade import verdict

from lte_jax.records import (
    Attempt,
    Group,
    Origin,
    Part,
    Plan,
    Purpose,
    Response,
    Rollout,
    Span,
    Status,
)

# (round, index, part) -> (right or wrong, tokens that are drawn, text)
Script = Callable[[int, int, Part], tuple[bool, tuple[int, ...], str]]


def play(strategy, plan: Plan, script: Script, memory: dict | None = None, step: int = 0, most: int = 20) -> Group:
    """The finished group of a plan."""
    memory = memory or {}
    first = _drawn(strategy.first(plan, memory), None, 0, script, plan)
    group = Group(plan.problem, plan.prompt, step, 0, initial=first, members=first, seen=plan.seen)
    for n_round in range(1, most + 1):
        if (retry := strategy.retry(group, memory)) is None:
            return group
        attempt = Attempt(retry, _drawn(retry.parts, retry, n_round, script, plan))
        if attempt.is_note:
            group = replace(group, attempts=(*group.attempts, attempt))
        else:
            group = strategy.merge(group, attempt)
    raise AssertionError(f"{type(strategy).__name__} asks for more than {most} rounds")


def _drawn(parts, retry, n_round: int, script: Script, plan: Plan) -> tuple[Rollout, ...]:
    of_index = [part for part in parts for _ in range(part.n)]
    return tuple(_rollout(part, index, retry, n_round, script, plan) for index, part in enumerate(of_index))


def _rollout(part: Part, index: int, retry, n_round: int, script: Script, plan: Plan) -> Rollout:
    correct, tokens, text = script(n_round, index, part)
    origin = retry.origin if retry else Origin.PLAIN if part.prompt == plan.prompt else Origin.HINTED
    given = part.given
    if given:
        tokens = given.tokens if given.whole else (*given.tokens, *tokens)
    logp = tuple(-1.0 - 0.1 * place for place in range(len(tokens)))
    if given:
        logp = (*given.behaviour_logp, *logp[len(given) :])
    made = Rollout(part.prompt, origin, n_round, index, Response(tokens, logp, logp, False), text)
    if given:
        drawn = [Span(len(tokens) - len(given), made.drawn_kind)] if part.is_drawn else []
        made = replace(made, n_given=len(given), kinds=(*given.kinds, *drawn))
    if retry and retry.purpose is Purpose.NOTE:
        return made
    said = verdict(Status.EQUAL, "42") if correct else verdict(Status.DIFFERENT, f"w{index}")
    return replace(made, verdict=said)


def last_is_wrong(problem, steps):
    """Scores of steps, as explore.args.steps names a function."""
    return [1.0] * (len(steps) - 1) + [0.0]


def one_is_below_half(problem, steps):
    return [0.5] * (len(steps) - 1) + [0.4]
