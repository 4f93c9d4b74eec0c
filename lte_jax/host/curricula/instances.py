"""What fission and exit share: a failed attempt becomes a problem of its own, asked on a prompt that shows it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lte_jax.host.contexts import Told, feedback, shortened
from lte_jax.host.curriculum import Curriculum, Position, Shuffled, remember, taken_before
from lte_jax.records import Group, Plan, Problem, Prompt

Entry = list  # [problem's id, attempt, feedback, score], plain JSON


@dataclass(frozen=True)
class Instances(Curriculum):
    """As shuffled, but a share of the plans, drawn by a key, shows a failed attempt of the buffer. Such a plan takes
    the place of a problem, which its epoch then lacks.

    Memory: `buffer`, entries; `taken`, plans so far; `seen`, outcomes of plain plans."""

    def choose(self, n: int, at: Position, memory: dict) -> tuple[Plan, ...]:
        plans = Shuffled(self.config, self.problems, self.prompts).choose(n, at, memory)
        return tuple(self._instead(plan, at, at.cursor + place, memory) for place, plan in enumerate(plans))

    def remembered(self, memory: dict, groups: Sequence[Group]) -> dict:
        """The memory without the buffer: of plain plans alone, since an instance says nothing of the plain prompt."""
        plain = [group for group in groups if self.is_plain(group)]
        return {
            **remember(memory, plain, self.config.curriculum.history),
            "taken": taken_before(memory, groups, self.config) + len(groups),
        }

    def is_plain(self, group: Group) -> bool:
        return group.prompt.ids == self._by_id[group.problem.id][1].ids

    def failures(self, group: Group, score: float) -> list[Entry]:
        """An entry for each wrong attempt of which the verifier says why, the last first."""
        most = self.args.attempt_chars
        return [
            [group.problem.id, shortened(rollout.text, most), feedback(rollout), score]
            for rollout in reversed(group.initial)
            if feedback(rollout)
        ]

    def prompt(self, context: str, entry: Entry) -> Prompt | None:
        """What asks for an entry to be put right; None where it does not fit."""
        told = Told(attempt=entry[1], feedback=entry[2])
        return self.prompts.context(context, self._by_id[entry[0]][0], told, self.config.prompt.budget)

    def rng(self, at: Position, position: int) -> np.random.Generator:
        return np.random.default_rng([at.seed, at.step, position, *b"instance"])

    def picked(self, memory: dict, at: Position, position: int) -> tuple[str, Entry] | None:
        """(context, entry) of the plan at a position, or None where a problem comes plain."""
        raise NotImplementedError

    def _instead(self, plan: Plan, at: Position, position: int, memory: dict) -> Plan:
        picked = self.picked(memory, at, position)
        prompt = self.prompt(*picked) if picked else None
        return replace(plan, problem=self._by_id[picked[1][0]][0], prompt=prompt, seen="") if prompt else plan

    @cached_property
    def _by_id(self) -> dict[str, tuple[Problem, Prompt]]:
        return {problem.id: (problem, prompt) for problem, prompt in self.problems}
