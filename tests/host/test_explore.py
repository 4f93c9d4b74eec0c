"""What each strategy asks for and what a group becomes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from handmade import HINTED, PROMPT, group, right, rollout, wrong

from lte_jax.config import build
from lte_jax.host.decisions import Decisions
from lte_jax.host.diagnose import pass_level
from lte_jax.host.explore import MEMORY_LISTS, Extra, Grpo, Lte, Luffy, Tools, mix
from lte_jax.host.strategies import make_strategy
from lte_jax.records import (
    Attempt,
    FailureMode,
    Group,
    Kind,
    Origin,
    Part,
    PassLevel,
    Problem,
    Prompt,
    Purpose,
    Retry,
    Rollout,
    Span,
    Status,
)

G = 4


@dataclass
class Hints:
    """Stands in for the prompt builder: lists every answer of at most 64 characters, and keeps what it was asked."""

    asked: list = field(default_factory=list)

    def hinted(
        self, problem: Problem, mode: FailureMode, answers: Sequence[str]
    ) -> tuple[Prompt, tuple[str, ...]] | None:
        self.asked.append((problem.id, mode, tuple(answers)))
        listed = tuple(answer for answer in answers if len(answer) <= 64)
        if not listed and mode is FailureMode.NONE_TRUNCATED:
            return None
        return HINTED, listed


def distinct(pairs):
    return [False] * len(pairs)


def config(seed=0, leak_patterns=("the note",), **explore):
    return build(
        {
            "seed": seed,
            "sample": {"group_size": G},
            "explore": explore,
            "prompt": {"hints": {"leak_patterns": list(leak_patterns)}},
        }
    )


def lte(builder=None, **explore) -> Lte:
    return Lte(tools(builder, **explore))


def tools(builder=None, decisions=None, same_answer=distinct, **settings) -> Tools:
    return Tools(config(**settings), builder or Hints(), same_answer, decisions or Decisions())


def none_pass(*answers: str, **fields) -> Group:
    return group(*(wrong(answer) for answer in answers or "1234"), **fields)


def hinted(*rollouts: Rollout) -> Attempt:
    return attempt(*(replace(r, origin=Origin.HINTED, prompt=HINTED, round=1) for r in rollouts))


def attempt(*rollouts: Rollout) -> Attempt:
    return Attempt(Retry.of(HINTED, len(rollouts), Origin.HINTED, FailureMode.NONE_TRUNCATED), rollouts)


def n_correct(its: Group) -> int:
    return sum(member.correct for member in its.members)


# Who is asked again, and for what


@pytest.mark.parametrize("strategy", [Extra(tools()), lte()], ids=["extra", "lte"])
@pytest.mark.parametrize(
    "finished",
    [
        group(wrong(), wrong(), wrong(), right()),
        group(right(), right(), right(), right()),
        group(right(), rollout(Status.TIMEOUT), rollout(Status.TIMEOUT), rollout(Status.TIMEOUT)),
        group(*[rollout(Status.TIMEOUT)] * 4),
    ],
    ids=["some", "all", "all decided", "undecided"],
)
def test_only_none_pass_groups_are_retried(strategy, finished):
    assert strategy.retry(finished, {}) is None
    assert strategy.retry(none_pass(), {}) is not None
    assert strategy.retry(group(wrong(), *[rollout(Status.TIMEOUT)] * 3), {}) is not None


def test_grpo_never_retries():
    assert Grpo(tools()).retry(none_pass(), {}) is None
    with pytest.raises(ValueError, match="Grpo never asks"):
        Grpo(tools()).merge(none_pass(), hinted(right()))


def test_extra_draws_g_more_from_the_plain_prompt():
    retry = Extra(tools()).retry(none_pass(), {})
    assert (retry.prompt, retry.n, retry.origin, retry.answers) == (PROMPT, G, Origin.EXTRA, ())


def test_lte_draws_g_more_from_a_prompt_that_lists_the_wrong_answers():
    hints = Hints()
    retry = lte(hints).retry(group(wrong("7"), wrong("8"), wrong("7"), rollout(Status.UNPARSABLE, "6")), {})
    assert hints.asked == [("p0", FailureMode.NONE_TRUNCATED, ("7", "8"))]
    assert (retry.prompt, retry.n, retry.origin) == (HINTED, G, Origin.HINTED)
    assert (retry.mode, retry.answers) == (FailureMode.NONE_TRUNCATED, ("7", "8"))


@pytest.mark.parametrize(("n_truncated", "mode"), [(4, FailureMode.ALL_TRUNCATED), (1, FailureMode.SOME_TRUNCATED)])
def test_the_mode_chooses_the_hint(n_truncated, mode):
    members = [wrong(str(n), truncated=n < n_truncated) for n in range(4)]
    retry = lte().retry(group(*members), {})
    assert (retry.mode, retry.answers) == (mode, tuple(str(n) for n in range(n_truncated, 4)))


def test_with_nothing_to_list_the_plain_prompt_is_drawn_again_on_policy():
    retry = lte().retry(group(*[rollout(Status.NO_ANSWER)] * 4), {})
    assert (retry.prompt, retry.n, retry.origin) == (PROMPT, G, Origin.EXTRA)
    assert (retry.mode, retry.answers) == (FailureMode.NO_ANSWER, ())


@pytest.mark.parametrize(
    "make", [lambda c, h: Extra(Tools(c, h, distinct)), lambda c, h: Lte(Tools(c, h, distinct))], ids=["extra", "lte"]
)
def test_rounds_end_at_the_limit_or_with_the_first_correct_rollout(make):
    strategy = make(config(rounds=2), Hints())
    again = strategy.merge(none_pass(), hinted(wrong("5"), wrong("1")))
    assert strategy.retry(again, {}) is not None
    assert strategy.retry(strategy.merge(again, hinted(wrong("6"))), {}) is None  # two rounds are over
    assert strategy.retry(strategy.merge(none_pass(), hinted(right())), {}) is None
    assert make(config(rounds=1), Hints()).retry(again, {}) is None


def test_a_correct_rollout_that_was_not_mixed_in_ends_the_rounds_too():
    strategy = lte(rounds=3, drop_leaking=True)
    leaked = strategy.merge(none_pass(), hinted(right(text="as the note says")))
    assert n_correct(leaked) == 0
    assert strategy.retry(leaked, {}) is None


def test_wrong_answers_of_all_rounds_are_listed_and_the_mode_is_the_last_rounds():
    hints = Hints()
    strategy = lte(hints, rounds=3)
    again = strategy.merge(none_pass("1", "2", "1", "2"), hinted(wrong("3"), wrong("9", truncated=True), wrong("1")))
    retry = strategy.retry(again, {})
    assert retry.answers == ("1", "2", "3")
    assert retry.mode is FailureMode.SOME_TRUNCATED


# The mix


@pytest.mark.parametrize(
    ("n_right", "keep_failed", "swapped"),
    [(0, 1, 0), (1, 1, 1), (3, 1, 3), (4, 1, 3), (4, 0, 4), (4, 2, 2), (2, 3, 1)],
)
def test_correct_rollouts_replace_failed_ones_until_keep_failed_are_left(n_right, keep_failed, swapped):
    attempted = hinted(*(right(index=n) for n in range(n_right)), *(wrong() for _ in range(G - n_right)))
    mixed = mix(none_pass(), attempted, config(keep_failed=keep_failed))
    assert len(mixed.members) == G
    assert n_correct(mixed) == swapped == sum(member.off_policy for member in mixed.members)
    places = {member.index for member in mixed.members if member.off_policy}
    assert len(places) == swapped  # no rollout twice
    assert mixed.attempts == (attempted,)
    assert n_correct(replace(mixed, members=mixed.initial)) == 0  # the first round is still told as it was


def test_members_that_stay_keep_their_place():
    before = none_pass()
    mixed = mix(before, hinted(right(), right()), config())
    kept = [place for place in range(G) if mixed.members[place] is before.members[place]]
    assert len(kept) == 2
    assert all(mixed.members[place].correct for place in range(G) if place not in kept)


def test_members_without_a_verdict_are_neither_failed_nor_replaced():
    before = group(rollout(Status.TIMEOUT), wrong(), rollout(None), wrong())
    mixed = mix(before, hinted(*[right()] * 4), config())
    assert [m is b for m, b in zip(mixed.members, before.members, strict=True)].count(False) == 1
    assert mixed.members[0] is before.members[0] and mixed.members[2] is before.members[2]
    nothing_failed = group(*[rollout(Status.TIMEOUT)] * 4)
    assert mix(nothing_failed, hinted(right()), config()).members == nothing_failed.members


def choices(its: Group, **settings):
    """Which members are replaced, and by which of eight correct rollouts."""
    mixed = mix(its, hinted(*(right(index=10 + n) for n in range(8))), config(**settings))
    return tuple(member.index for member in mixed.members)


def test_the_choice_follows_from_seed_step_group_and_round_alone():
    eight = group(*(wrong(str(n)) for n in range(8)))
    base = choices(eight, keep_failed=3)
    assert choices(group(*(wrong(str(n)) for n in range(8))), keep_failed=3) == base
    moved = [
        choices(replace(eight, step=1), keep_failed=3),
        choices(replace(eight, index=1), keep_failed=3),
        choices(replace(eight, attempts=(hinted(wrong()),)), keep_failed=3),
        choices(eight, seed=1, keep_failed=3),
    ]
    assert len({base, *moved}) == 5


def test_every_failed_member_and_every_rescue_has_its_chance():
    seen = [choices(replace(none_pass(), step=step), keep_failed=2) for step in range(60)]
    assert {place for members in seen for place, index in enumerate(members) if index >= 10} == {0, 1, 2, 3}
    assert {index for members in seen for index in members if index >= 10} == set(range(10, 18))


@pytest.mark.parametrize(("drop", "swapped"), [(False, 3), (True, 1)])
def test_responses_that_name_the_hint_may_be_dropped(drop, swapped):
    attempted = hinted(right(text="THE NOTE says"), right(text="clean"), right(text="by the note"))
    assert n_correct(mix(none_pass(), attempted, config(drop_leaking=drop))) == swapped


def test_an_extra_rollout_cannot_leak():
    plain = attempt(right(text="the note", origin=Origin.EXTRA))
    assert n_correct(mix(none_pass(), plain, config(drop_leaking=True))) == 1


def test_a_rescued_group_is_some_pass():
    mixed = mix(none_pass(), hinted(*[right()] * 4), config())
    assert pass_level(mixed.members) is PassLevel.SOME


# Notes


def test_a_note_is_no_round_and_no_failure():
    noted = Retry((Part(HINTED, 1),), Origin.HINTED, None, purpose=Purpose.NOTE)
    its = replace(none_pass("1", "2"), attempts=(Attempt(noted, (rollout(None, truncated=True),)),))
    for strategy in (Extra(tools()), lte()):
        retry = strategy.retry(its, {})
        assert retry is not None and retry.mode is FailureMode.NONE_TRUNCATED
        assert strategy.retry(strategy.merge(its, hinted(wrong("3"))), {}) is None  # the one round is over
    assert lte().retry(its, {}).answers == ("1", "2")


# Groups of other sizes than G


@pytest.mark.parametrize("n", [2, 9])
@pytest.mark.parametrize("strategy", [Extra(tools()), lte()], ids=["extra", "lte"])
def test_a_group_gets_as_many_more_as_it_had(strategy, n):
    its = none_pass(*map(str, range(n)))
    assert strategy.retry(its, {}).n == n
    merged = strategy.merge(its, hinted(*[right()] * n))
    assert len(merged.members) == n and n_correct(merged) == n - 1


def test_nothing_is_drawn_for_a_group_that_keeps_all_its_failures():
    assert Extra(tools(keep_failed=3)).retry(none_pass("1", "2", "3"), {}) is None
    assert Extra(tools(keep_failed=3)).retry(none_pass("1", "2", "3", "4"), {}) is not None


@pytest.mark.parametrize(
    ("seen", "least", "more"),
    [
        ("", 1, True),
        ("", 2, True),
        ("", 3, False),  # two failures, one undecided
        ("0", 3, True),
        ("10", 3, True),
        ("01", 3, False),  # right the time before
        ("100000", 7, True),
        ("100000", 8, False),
    ],
)
@pytest.mark.parametrize("make", [Extra, Lte])
def test_two_failures_may_be_too_few_unless_earlier_steps_saw_more(make, seen, least, more):
    its = replace(group(wrong("1"), rollout(Status.TIMEOUT), wrong("2")), seen=seen)
    assert (make(tools(least_failures=least)).retry(its, {}) is not None) is more


def test_a_trace_is_the_whole_of_a_group_of_one():
    luffy, its = Luffy(tools(Spelled())), with_trace(none_pass("1"))
    merged = luffy.merge(its, Attempt(luffy.retry(its, {}), (right(origin=Origin.TRACE),)))
    assert [member.origin for member in merged.members] == [Origin.TRACE]


# Random hints


DOMAIN = tuple(str(n) for n in range(100, 120))


def test_random_hints_list_as_many_distinct_values_as_the_real_list_from_the_domain():
    hints = Hints()
    strategy = lte(hints, hints="random", answer_domain=DOMAIN)
    lists = []
    for step in range(5):
        retry = strategy.retry(none_pass("1", "2", "1", "3", step=step), {})
        assert len(set(retry.answers)) == len(retry.answers) == 3
        assert set(retry.answers) <= set(DOMAIN)
        lists.append(retry.answers)
    assert len(set(lists)) == 5
    assert strategy.retry(none_pass("1", "2", "1", "3", step=0), {}).answers == lists[0]


def test_random_hints_draw_from_earlier_groups_where_no_domain_is_given():
    strategy = lte(hints="random")
    memory = strategy.observe({}, [none_pass("7", "8", "7", "8"), none_pass("9", "8", "9", "9", index=1)])
    assert memory == {"lists": [["p0", ["7", "8"]], ["p1", ["9", "8"]]]}
    other = none_pass("1", "2", "3", "1", step=1, index=2)
    assert set(strategy.retry(other, memory).answers) == {"7", "8", "9"}
    assert set(strategy.retry(none_pass("1", "2", "3", "1", step=1), memory).answers) == {"8", "9"}  # not its own list


def test_the_control_draws_nothing_where_there_is_no_list_yet():
    assert lte(hints="random").retry(none_pass("1", "2", "3", "1"), {}) is None


def test_a_recorded_list_is_used_again_and_nothing_is_compared():
    def never(pairs):
        raise AssertionError("compared again")

    strategy = Lte(tools(same_answer=never, decisions=Decisions({(0, 0): {"0/answers": ["5", "6"]}})))
    assert strategy.retry(none_pass("1", "2", "3", "1"), {}).answers == ("5", "6")


def test_memory_keeps_the_newest_lists():
    strategy, memory = lte(hints="random"), {}
    for step in range(MEMORY_LISTS + 3):
        memory = strategy.observe(memory, [none_pass(*[str(step)] * 4)])
    assert memory["lists"] == [["p0", [str(step)]] for step in range(3, MEMORY_LISTS + 3)]


@pytest.mark.parametrize("explore", [{}, {"hints": "random", "answer_domain": DOMAIN}], ids=["real", "domain"])
def test_memory_is_kept_only_where_it_is_read(explore):
    assert lte(**explore).observe({}, [none_pass()]) == {}
    assert Extra(tools()).observe({"a": 1}, [none_pass()]) == Grpo(tools()).observe({"a": 1}, [none_pass()]) == {"a": 1}


def test_a_random_list_is_as_long_as_the_real_list_would_have_been():
    """Answers that are too long for a hint are not listed, so the control must not list a value in their place."""
    retry = lte(hints="random", answer_domain=DOMAIN).retry(none_pass("1", "2", "9" * 65, "1"), {})
    assert len(retry.answers) == 2


def test_a_strategy_is_made_by_name():
    made = {name: make_strategy(config(strategy=name), Hints(), distinct) for name in ("grpo", "extra", "lte", "luffy")}
    assert list(map(type, made.values())) == [Grpo, Extra, Lte, Luffy]


# A given solution


class Spelled:
    """Stands in for the prompt builder: a response's tokens are its characters."""

    def response(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))


def with_trace(its: Group, trace: str = "so 42") -> Group:
    return replace(its, problem=replace(its.problem, trace=trace))


@pytest.mark.parametrize("level", [none_pass(), group(wrong(), right(), right(), right()), group(*[right()] * 4)])
def test_luffy_gives_every_group_its_problems_trace_once(level):
    luffy = Luffy(tools(Spelled()))
    assert luffy.retry(level, {}) is None  # no trace
    retry = luffy.retry(with_trace(level), {})
    (part,) = retry.parts
    assert (part.given.tokens, part.n, retry.origin, retry.mode) == (tuple(map(ord, "so 42")), 1, Origin.TRACE, None)
    assert not part.is_drawn and part.given.kinds == (Span(5, Kind.OFF_POLICY),)
    trace = right(origin=Origin.TRACE)
    merged = luffy.merge(with_trace(level), Attempt(retry, (trace,)))
    assert [member is trace for member in merged.members].count(True) == 1 and len(merged.members) == G
    assert all(member is trace or member is first for member, first in zip(merged.members, level.initial, strict=True))
    assert luffy.retry(merged, {}) is None and trace.off_policy


def test_the_place_of_a_trace_is_drawn_from_seed_step_and_group_whatever_the_verdicts():
    def places(*rollouts, seed=0):
        luffy, found = Luffy(tools(Spelled(), seed=seed)), []
        for index in range(40):
            its = with_trace(group(*rollouts, index=index))
            trace = wrong(origin=Origin.TRACE)
            merged = luffy.merge(its, Attempt(luffy.retry(its, {}), (trace,)))
            found.append([member is trace for member in merged.members].index(True))
        return found

    assert places(*[wrong()] * 4) == places(right(), right(), wrong(), wrong()) != places(*[wrong()] * 4, seed=1)
    assert set(places(*[wrong()] * 4)) == {0, 1, 2, 3}
