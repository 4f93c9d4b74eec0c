"""The gold answer never reaches a prompt that is trained, evaluated or learned from, whatever the strategy. A new strategy
or curriculum is covered by being registered."""

from dataclasses import replace

import pytest
from handmade import right, rollout, wrong
from test_prompts import WordTokenizer

from lte_jax.config import Config, build
from lte_jax.host.advantage import with_advantages
from lte_jax.host.curricula import CURRICULA, make_curriculum
from lte_jax.host.curriculum import Position
from lte_jax.host.prompts import PromptBuilder
from lte_jax.host.strategies import STRATEGIES, make_strategy
from lte_jax.records import Attempt, Context, Group, Origin, Problem, Prompt, Status

GOLD = "gold-4711"
PROBLEM = Problem("p0", "six times seven", GOLD, trace=f"first this\n\nthen that\n\nso it is {GOLD}")
ASKS_NOTHING = {"grpo"}
SAYS_GOLD = {"guided", "expo"}  # in prompts that are only sampled from
SHOWS_OPTIONS = {"ladder"}  # multiple choice: the right option stands among the others by its nature
ROUNDS = 4


class Tokenizer(WordTokenizer):
    stop_ids = (0,)
    spelling = staticmethod(str)


def response(correct: bool, place: int):
    """Attempts that reason, so that a context may quote them."""
    text = f"some steps\n\nand the answer {place}"
    made = right(text=text, tokens=(5, 6, 7, 8)) if correct else wrong(f"w{place}", text=text, tokens=(5, 6, 7, 8))
    return replace(made, index=place)


def finished(name: str, first: list, config: Config) -> Group:
    """A group after all rounds that its strategy asks for; each has one right rollout where the last allows it."""
    prompts = PromptBuilder(config.prompt, Tokenizer())
    strategy = make_strategy(config, prompts, lambda pairs: [False] * len(pairs))
    strategy.check([PROBLEM], lambda text: None)
    plain = prompts.plain(PROBLEM)
    rollouts = tuple(replace(each, prompt=plain, index=place) for place, each in enumerate(first))
    group = Group(PROBLEM, plain, 1, 0, initial=rollouts, members=rollouts)
    for n_round in range(1, ROUNDS + 1):
        if (retry := strategy.retry(group, {})) is None:
            break
        drawn = [response(n_round > 1 and place == 0, place) for place in range(retry.n)]
        drawn = [replace(each, prompt=retry.prompt, origin=retry.origin, round=n_round) for each in drawn]
        group = strategy.merge(group, Attempt(retry, tuple(drawn)))
    return with_advantages(group, config)


def trained(group: Group) -> list[Prompt]:
    """Every prompt that something of the group is trained on."""
    own = [member.prompt for member in group.members if member.trained_on is Context.OWN]
    return [group.prompt, *own, *(lesson.prompt for lesson in group.lessons)]


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_trained_or_evaluated_prompt_says_the_gold(name):
    config = build({"sample": {"group_size": 4}, "explore": {"strategy": name}})
    firsts = {
        "none": [response(False, place) for place in range(4)],
        "some": [response(place == 0, place) for place in range(4)],
        "no answer": [rollout(Status.NO_ANSWER, text="lost") for _ in range(4)],
        "cut": [response(False, 0), *[wrong("9", truncated=True, text="long")] * 3],
    }
    groups = [finished(name, first, config) for first in firsts.values()]
    assert all(GOLD not in prompt.text for group in groups for prompt in trained(group))
    assert GOLD not in PromptBuilder(config.prompt, Tokenizer()).plain(PROBLEM).text  # evaluation, generation
    asked = [attempt.retry.prompt.text for group in groups for attempt in group.attempts]
    assert bool(asked) == (name not in ASKS_NOTHING)
    assert any(GOLD in text for text in asked) == (name in SAYS_GOLD)


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
            drawn = tuple(replace(response(False, place), prompt=plan.prompt) for place in range(plan.n))
            groups.append(Group(plan.problem, plan.prompt, step, index, initial=drawn, members=drawn))
        memory = curriculum.observe(memory, groups)
        asked += [plan.prompt.text for plan in plans]
    assert any(GOLD in text for text in asked) == (name in SHOWS_OPTIONS)
    assert (len(set(asked)) > 1) == (name in {"fission", "exit", "ladder"})


def test_a_hinted_rollout_never_counts_as_drawn_from_the_prompt_that_it_is_trained_on():
    config = build({"sample": {"group_size": 4}, "explore": {"strategy": "guided"}})
    group = finished("guided", [response(False, place) for place in range(4)], config)
    guided = [member for member in group.members if member.origin is Origin.HINTED]
    assert guided and all(member.off_policy and member.prompt.text != group.prompt.text for member in guided)
