"""The gold answer never reaches a prompt that is trained, evaluated or learned from, whatever the strategy. A new
strategy or curriculum is covered by being registered."""

import json
from dataclasses import replace

import pytest
from handmade import wrong
from played import play
from test_prompts import WordTokenizer

from lte_jax.config import build
from lte_jax.host.advantage import with_advantages
from lte_jax.host.curricula import CURRICULA, make_curriculum
from lte_jax.host.curriculum import Position
from lte_jax.host.prompts import PromptBuilder
from lte_jax.host.strategies import STRATEGIES, make_strategy
from lte_jax.records import Context, Group, Kind, Plan, Problem, Prompt

GOLD = "gold-4711"
OUTCOMES = ((False,) * 4, (True, False, False, False), (True,) * 4)
PROBLEM = Problem("p0", "six times seven", GOLD, trace=f"first this\n\nthen that\n\nso it is {GOLD}")
SAYS_GOLD = {"guided", "expo", "evocot"}  # in prompts that are only sampled from
SHOWS_OPTIONS = {"ladder"}  # multiple choice: the right option stands among the others by its nature
ARGS = {"scope": {"steps": "played:last_is_wrong"}, "notes": {"learn": 1.0}, "relift": {"size": 1}}
VISITS = 3


class Tokenizer(WordTokenizer):
    """Keeps the texts that responses are begun with."""

    stop_ids = (0,)
    spelling = staticmethod(str)

    def __init__(self):
        self.begun = []

    def encode(self, text):
        self.begun.append(text)
        return [len(word) for word in text.split()]

    def decode(self, tokens):
        return "x" * len(tokens)


def scripted(outcomes: tuple[bool, ...]):
    """First rounds with these outcomes; of a further round the first response is right, from the second round on.
    Attempts reason, so that a context may quote them; a right one ends with the answer, as an explanation does."""

    def script(n_round, index, part):
        correct = (
            outcomes[index % len(outcomes)] if n_round == 0 else index == 0 and n_round > 1 - (GOLD in part.prompt.text)
        )
        text = f"some steps\n\nmore of them\n\nand it is {GOLD}" if correct else f"some steps\n\nand it is {index}"
        return correct, (5, 6, 7 + index, 8), text

    return script


def visits(strategy, plan: Plan, outcomes: tuple[bool, ...]) -> list[Group]:
    """The groups of a problem that comes several times."""
    memory, groups = {}, []
    for step in range(VISITS):
        group = play(strategy, plan, scripted(outcomes), memory, step)
        memory = json.loads(json.dumps(strategy.observe(memory, [group])))
        groups += [with_advantages(group, strategy.config), *strategy.supervised(memory, step)]
    return groups


def trained(group: Group) -> list[Prompt]:
    """Every prompt that something of the group is trained on."""
    own = [member.prompt for member in group.members if member.trained_on is Context.OWN]
    return [group.prompt, *own, *(lesson.prompt for lesson in group.lessons)]


def made(name: str):
    """(strategy, plan of the problem, tokenizer)"""
    explore = {"strategy": name, "args": ARGS.get(name, {})}
    config, tokenizer = build({"sample": {"group_size": 4}, "explore": explore}), Tokenizer()
    prompts = PromptBuilder(config.prompt, tokenizer)
    strategy = make_strategy(config, prompts, lambda pairs: [False] * len(pairs), problems=[PROBLEM])
    strategy.check([PROBLEM], lambda text: None)
    return strategy, Plan(PROBLEM, prompts.plain(PROBLEM), 4), tokenizer


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_trained_or_evaluated_prompt_says_the_gold(name):
    strategy, plan, tokenizer = made(name)
    groups = [each for outcomes in OUTCOMES for each in visits(strategy, plan, outcomes)]
    assert all(GOLD not in prompt.text for group in groups for prompt in trained(group))
    assert GOLD not in plan.prompt.text  # what is evaluated and generated from, too
    assert all(GOLD not in text for text in tokenizer.begun)  # nor is a response begun with it
    asked = [part.prompt.text for group in groups for attempt in group.attempts for part in attempt.retry.parts]
    assert bool(asked) == (name not in ("grpo", "relift"))
    assert any(not group.members for group in groups) == (name == "relift")  # groups of lessons were looked at
    assert any(GOLD in text for text in asked) == (name in SAYS_GOLD)
    assert bool(tokenizer.begun) == (name == "evocot")


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_was_drawn_elsewhere_is_off_policy_and_spans_cover_every_response(name):
    strategy, plan, _ = made(name)
    for group in (each for outcomes in OUTCOMES for each in visits(strategy, plan, outcomes)):
        rounds = [group.initial, *(attempt.rollouts for attempt in group.attempts)]
        for member in group.members:
            assert any(member is rollout for drawn in rounds for rollout in drawn)  # other processes find it by this
            assert sum(span.n for span in member.spans) == len(member.response)
            elsewhere = member.prompt != group.prompt and member.trained_on is Context.GROUP
            assert not elsewhere or member.spans[-1].kind is not Kind.ON_POLICY


@pytest.mark.parametrize("name", CURRICULA)
def test_no_curriculum_asks_with_the_gold(name):
    """What a curriculum asks is trained. Every problem fails often, so that each does what it does about failures."""
    args = {"exit": {"least": 1}, "ladder": {"after": 4}}
    config = build({"sample": {"group_size": 4}, "curriculum": {"name": name, "args": args.get(name, {})}})
    prompts, memory, asked = PromptBuilder(config.prompt, Tokenizer()), {}, []
    curriculum = make_curriculum(config, [(PROBLEM, prompts.plain(PROBLEM))], prompts)
    for step in range(8):
        plans = curriculum.choose(2, Position(0, step, 2 * step), memory)
        groups = []
        for index, plan in enumerate(plans):
            drawn = tuple(
                replace(wrong(f"w{place}", text=f"it is {place}"), prompt=plan.prompt) for place in range(plan.n)
            )
            groups.append(Group(plan.problem, plan.prompt, step, index, initial=drawn, members=drawn))
        memory = curriculum.observe(memory, groups)
        asked += [plan.prompt.text for plan in plans]
    assert any(GOLD in text for text in asked) == (name in SHOWS_OPTIONS)
    assert (len(set(asked)) > 1) == (name in {"fission", "exit", "ladder"})
