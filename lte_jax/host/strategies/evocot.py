"""EvoCoT (arXiv 2508.07809): the model explains the known answer of a problem that it never solves, then begins its
response with that explanation, from which more and more of the last steps are left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.contexts import pieces_of
from lte_jax.host.diagnose import contains_answer
from lte_jax.host.explore import Strategy, wants_more
from lte_jax.host.strategies.told import check_contexts, told
from lte_jax.method import Method, Source
from lte_jax.records import Attempt, Given, Group, Kind, Origin, Part, Plan, Problem, Retry


class EvocotArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    context: str = Field("answer", description="what an explanation is drawn from")
    n: int = Field(4, ge=1, description="explanations that are tried for a none-pass group")
    entries: int = Field(512, ge=1, description="problems whose explanation is kept, the newest")
    chars: int = Field(8000, ge=1, description="a longer explanation is not kept")


@dataclass(frozen=True)
class Evocot(Strategy):
    """A problem with an explanation begins with all of its steps but the last s, which are not trained; s rises by one
    with each visit, until nothing is left. Memory: `explained`, id -> [text, s]."""

    Args = EvocotArgs
    forks = True
    off_policy = False  # explanations are no members
    METHOD = Method(
        "an own explanation of the known answer begins the response, and loses its last steps one by one",
        "2508.07809",
        Source.EXACT,
        "prefixes",
        cost="n rollouts and verdicts of a none-pass group, once",
        ours="both stages in one run; none-pass groups are explained, the authors take problems that were never "
        "solved at temperature 0.6; an explanation that says the answer before its last step is not kept",
        configs=("qwen3-4b-evocot.yaml", "qwen3-8b-evocot.yaml"),
    )

    def first(self, plan: Plan, memory: dict) -> tuple[Part, ...]:
        given = self._given(plan.problem, memory)
        return (Part(plan.prompt, plan.n, given),)

    def retry(self, group: Group, memory: dict) -> Retry | None:
        is_begun = group.problem.id in memory.get("explained", {})
        if group.attempts or is_begun or not wants_more(group, self.config, rounds=1):
            return None
        prompt = told(self.tools, self.tools.args.context, group)
        return prompt and Retry.of(prompt, self.tools.args.n, Origin.HINTED, mode=None)

    def merge(self, group: Group, attempt: Attempt) -> Group:
        """Explanations are no members: they are what later visits begin with."""
        return replace(group, attempts=(*group.attempts, attempt))

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        explained = dict(memory.get("explained", {}))
        for group in groups:
            id_ = group.problem.id
            if entry := explained.get(id_):
                explained[id_] = [entry[0], entry[1] + 1]
                if entry[1] + 1 >= len(pieces_of(entry[0])):
                    del explained[id_]
            elif texts := [
                r.text for a in group.attempts for r in a.rollouts if r.correct and self._is_kept(group, r.text)
            ]:
                explained[id_] = [texts[0], 1]
        return {"explained": dict(list(explained.items())[-self.tools.args.entries :])}

    def check(self, problems: Sequence[Problem], say: Callable[[str], None]) -> None:
        check_contexts([self.tools.args.context], self.tools.prompts, problems, say)

    def most_further(self) -> int:
        return self.tools.args.n

    def _is_kept(self, group: Group, text: str) -> bool:
        pieces = pieces_of(text)
        says_it_early = contains_answer("".join(pieces[:-1]), [group.problem.answer])
        return len(pieces) > 1 and len(text) <= self.tools.args.chars and not says_it_early

    def _given(self, problem: Problem, memory: dict) -> Given | None:
        """The explanation without its last s steps; None where there is none, or no room behind it."""
        text, s = memory.get("explained", {}).get(problem.id, ("", 0))
        kept = self.tools.prompts.beginning("".join(pieces_of(text)[: len(pieces_of(text)) - s]))
        fits = 0 < len(kept) < self.config.sample.response_budget
        return Given.written(kept, Kind.UNTRAINED) if fits else None
