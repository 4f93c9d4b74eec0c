"""Retries from a failure's own beginning: LTE with a prefix, and SCOPE (arXiv 2602.24110), which finds the first wrong
step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.explore import Extra, Lte, LteArgs
from lte_jax.method import Method, Source
from lte_jax.plugins import resolve
from lte_jax.records import Group, Part, Problem, Prompt, Retry, Rollout

Scores = Callable[[Problem, Sequence[str]], Sequence[float]]  # of the steps of a response, each with those before it


class RestartArgs(LteArgs):
    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(0.5, gt=0, lt=1, description="share of a failure's tokens that its retry begins with")


@dataclass(frozen=True)
class Restart(Lte):
    """As LTE, but each rollout of the round goes on behind the beginning of another failure."""

    Args = RestartArgs
    forks = True
    METHOD = Method(
        "LTE whose retries go on behind the beginning of the group's own failures, in place of from the start",
        "",
        Source.OURS,
        "prefixes",
        cost="G rollouts, a share shorter, and verdicts a none-pass group",
        ours="the beginning is on-policy with its recorded log-probs, what is drawn behind it under the hint "
        "off-policy",
    )

    def retry(self, group: Group, memory: dict) -> Retry | None:
        asked = super().retry(group, memory)
        failures = _failures(group)
        cuts = [int(self.tools.args.share * len(failure.response)) for failure in failures]
        return asked and replace(asked, parts=_begun(asked.prompt, asked.n, failures, cuts))


class ScopeArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: str = Field(
        "", description="module:function of (problem, steps), which gives a score for each step of a response; required"
    )
    threshold: float = Field(0.5, description="a step below it is wrong")
    separator: str = Field("\n\n", min_length=1, description="what parts two steps of a response")


@dataclass(frozen=True)
class Scope(Extra):
    """G more for a none-pass group, each behind what stands before the first wrong step of a failure. All on-policy."""

    Args = ScopeArgs
    forks = True
    takes_any_labels = False  # it goes by which step is wrong
    METHOD = Method(
        "what stands before the first wrong step of a failure is kept, the rest is drawn again",
        "2602.24110",
        Source.RECONSTRUCTED,
        "prefixes",
        cost="G rollouts, shorter by what is kept, and verdicts a none-pass group; scores of steps",
        ours="all but the idea: the abstract alone was found. The model's own policy goes on, no teacher; scores come "
        "from `steps`, a function of yours (for the built-in task lte_jax.toy.arithmetic:step_scores)",
    )

    def retry(self, group: Group, memory: dict) -> Retry | None:
        asked = super().retry(group, memory)
        if asked is None:
            return None
        failures = _failures(group)
        cuts = self.tools.decisions.decide(group, "steps", lambda: [self._cut(group.problem, f) for f in failures])
        return replace(asked, parts=_begun(asked.prompt, asked.n, failures, cuts))

    def check(self, problems: Sequence[Problem], say: Callable[[str], None]) -> None:
        scores = self._scores()(problems[0], ["a step"])
        say(f"steps: {self.tools.args.steps} gives {list(scores)} for a made-up step of the first problem")

    def _scores(self) -> Scores:
        return resolve("explore.args.steps", self.tools.args.steps, {})

    def _cut(self, problem: Problem, failure: Rollout) -> int:
        """Tokens of the response before its first wrong step."""
        separator, steps = self.tools.args.separator, failure.text.split(self.tools.args.separator)
        scores = self._scores()(problem, steps)
        good = next((n for n, score in enumerate(scores) if score < self.tools.args.threshold), len(steps))
        kept = separator.join([*steps[:good], ""]) if good < len(steps) else failure.text
        return self.tools.prompts.n_tokens(failure.response.tokens, kept)


def _failures(group: Group) -> list[Rollout]:
    return [rollout for rollout in group.initial if rollout.decided and not rollout.correct]


def _begun(prompt: Prompt, n: int, failures: Sequence[Rollout], cuts: Sequence[int]) -> tuple[Part, ...]:
    """n responses, behind the beginnings of one failure after another; behind 0 tokens, from the start."""
    pairs = [(failure, min(cut, len(failure.response) - 1)) for failure, cut in zip(failures, cuts, strict=True)]
    chosen = (pairs[index % len(pairs)] for index in range(n))
    return tuple(Part(prompt, 1, failure.beginning(cut) if cut > 0 else None) for failure, cut in chosen)
