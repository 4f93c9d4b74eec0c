"""Every strategy of the package on the real engine: what it asks for can be drawn, and what becomes of it can be sent,
packed and counted. A new one is covered by being registered."""

import pytest
import tiny
from scripted import SAMPLING, STOP_IDS, G, collect, engine, prompt, spell

from lte_jax.config import build
from lte_jax.engine.boundary import pack
from lte_jax.host.advantage import with_advantages
from lte_jax.host.metrics import group_metrics
from lte_jax.host.prompts import PromptBuilder
from lte_jax.host.strategies import STRATEGIES, make_strategy
from lte_jax.records import Kind, Plan, Problem, Status, Verdict
from lte_jax.run.wire import decode_groups, encode_groups

CONTEXTS = {name: f"{{problem}} {name}" for name in ("idea", "critique", "notes")}
CONTEXTS |= {"answer": "{problem} {answer}", "trace": "{problem} {trace}"}
HINTS = {
    "concise": "{problem} c",
    "concise_hint": "{problem} {answers}",
    "hint": "{problem} {answers}",
    "separator": " ",
}
ARGS = {
    "scope": {"steps": "played:last_is_wrong", "separator": " "},
    "forks": {"points": 1, "branches": 1},
    "solved": {"most_right": 0.5},
    "relift": {"size": 2},
}
PROBLEMS = [Problem(f"p{n}", f"{5 + n} 6", "999", trace="7 8 9") for n in range(6)]
PLANS = [Plan(problem, prompt(5 + n, 6), G) for n, problem in enumerate(PROBLEMS)]


class Tokenizer:
    """A token of the tiny model for each word."""

    stop_ids, bos_ids, no_chat, spelling = STOP_IDS[:1], (), "", staticmethod(str)

    def encode(self, text):
        ids = [int(word) % 50 if word.isdigit() else 10 + len(word) for word in text.split()]
        return [token for token in ids if token not in STOP_IDS]

    def read(self, parts):
        return self.encode("".join(part.text for part in parts))

    def decode(self, tokens):
        return spell(tokens)


def some(items):
    """Right and wrong by the text alone: about one in six is right."""
    seen = [(problem, text, sum(map(ord, text)) % 6 == 0) for problem, text, _ in items]
    return [Verdict(r, Status.EQUAL if r else Status.DIFFERENT, p.answer, extracted=text[:5]) for p, text, r in seen]


@pytest.fixture(scope="module")
def made():
    return engine(length_bucket=64, shrink=False)


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_a_strategy_asks_for_is_drawn_sent_packed_and_counted(made, name):
    values = {"sample": {"group_size": G, "response_budget": SAMPLING.response_budget}}
    values["prompt"] = {"contexts": CONTEXTS, "hints": HINTS, "text": "{problem}", "budget": 9, "hinted_budget": 9}
    config = build({**values, "explore": {"strategy": name, "args": ARGS.get(name, {})}})
    tools = PromptBuilder(config.prompt, Tokenizer()), lambda pairs: [False] * len(pairs)
    strategy = make_strategy(config, *tools, problems=PROBLEMS)
    memory, groups, lessons = {}, [], []
    for _ in range(2):  # what was remembered of the first step is used in the second
        found = collect(made, strategy, some, PLANS, memory)
        memory = strategy.observe(memory, found)
        lessons += strategy.supervised(memory, 0)
        groups += [with_advantages(group, config) for group in found]
    sent = decode_groups(encode_groups(groups))
    for ours, theirs in zip(groups, sent, strict=True):
        assert (ours.problem, ours.lessons, ours.advantages) == (theirs.problem, theirs.lessons, theirs.advantages)
        assert [member.spans for member in ours.members] == [member.spans for member in theirs.members]
        assert all(sum(span.n for span in member.spans) == len(member.response) for member in ours.members)
    assert pack(groups, config, tiny.mesh()).n_tokens == sum(
        span.n
        for group in groups
        for member in group.members
        for span in member.spans
        if span.kind in (Kind.ON_POLICY, Kind.OFF_POLICY)
    )
    assert group_metrics(groups, config, strategy.tools.same_answer)["sample/groups"] == 12
    begun = [rollout for g in groups for a in g.attempts for rollout in a.rollouts if rollout.n_given]
    begun += [rollout for group in groups for rollout in group.initial if rollout.n_given]
    assert bool(begun) == (strategy.forks or name in ("luffy", "solved"))
    assert any(group.attempts for group in groups) == (name not in ("grpo", "relift"))
    alone = pack(lessons, config, tiny.mesh())  # an update of its own
    assert (alone.n_tokens, bool(alone.microbatches)) == (0, name == "relift")
    assert all((micro.weight_BT[micro.supervised_BT] > 0).all() for micro in alone.microbatches)
