"""An engine on the shared model, whose every response is drawn, and strategies that ask it for more."""

from dataclasses import replace

import tiny

from lte_jax.config import EngineConfig, ModelConfig
from lte_jax.engine.rollout import Engine, Grader, Round
from lte_jax.records import (
    Attempt,
    FailureMode,
    Group,
    Origin,
    Part,
    Plan,
    Problem,
    Prompt,
    Retry,
    Sampling,
    Status,
    Verdict,
)

STOP_IDS = (3, 17, 31)  # of 50: about one token in sixteen ends a response
LAYOUT = dict(slots=8, chunk=4, overlap=1, prefill_rows=4, length_bucket=16)
SAMPLING = Sampling(1.7, 1.0, 0, 40)
G = 3


def engine(cut=None, **layout) -> Engine:
    made = Engine(
        tiny.ARCH,
        ModelConfig(compute_dtype="float32", attention="xla"),
        EngineConfig(**LAYOUT | layout),
        tiny.mesh(),
        STOP_IDS,
        max_prompt=9,
        cut=cut,
    )
    made.load(tiny.params())
    return made


def prompt(*ids: int) -> Prompt:
    return Prompt(" ".join(map(str, ids)), ids)


PLANS = [Plan(Problem(f"p{n}", f"text {n}", f"answer {n}"), prompt(*range(5, 6 + n)), G) for n in range(6)]


class Again:
    """Asks `rounds` times for G more, from a longer prompt, for every second problem."""

    forks, hints = False, True

    def __init__(self, rounds: int = 1):
        self.rounds, self.asked = rounds, []

    def first(self, plan: Plan, memory: dict) -> tuple[Part, ...]:
        return (Part(plan.prompt, plan.n),)

    def retry(self, group: Group, memory: dict) -> Retry | None:
        self.asked.append((group.index, len(group.attempts)))
        if group.index % 2 or len(group.attempts) == self.rounds:
            return None
        hinted = prompt(*range(5, 14 - len(group.attempts)))
        return Retry.of(hinted, G, Origin.HINTED, FailureMode.NONE_TRUNCATED, ("7",))

    def merge(self, group: Group, attempt: Attempt) -> Group:
        return replace(group, attempts=(*group.attempts, attempt))


def spell(ids) -> str:
    return " ".join(map(str, ids))


def no(items) -> list[Verdict]:
    return [Verdict(False, Status.DIFFERENT, problem.answer, extracted=text) for problem, text, _ in items]


def collect(made: Engine, strategy, verify=no, plans=PLANS, memory: dict | None = None) -> list[Group]:
    return made.collect(
        dict(enumerate(plans)), Round(SAMPLING, Grader(spell, verify), seed=7, step=2), strategy, memory or {}
    )


def without_stop(ids) -> str:
    """As a tokenizer decodes: a stop token spells nothing."""
    return spell([i for i in ids if i not in STOP_IDS])
