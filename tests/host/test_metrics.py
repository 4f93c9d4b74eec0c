"""A step's metrics by hand, from groups written out."""

from dataclasses import replace

import pytest
from handmade import group, right, rollout, wrong

from lte_jax.config import build
from lte_jax.host.metrics import group_metrics
from lte_jax.records import Attempt, FailureMode, Origin, Part, Prompt, Purpose, Retry, Status

CONFIG = build({"sample": {"group_size": 2}, "explore": {"keep_failed": 1}})


def as_written(pairs):
    return [a == b for a, b in pairs]


def retried(before, rollouts, answers=("1",), origin=Origin.HINTED, members=None):
    retry = Retry.of(Prompt("hinted", (1,)), len(rollouts), origin, FailureMode.NONE_TRUNCATED, answers)
    after = replace(before, attempts=(*before.attempts, Attempt(retry, tuple(rollouts))))
    return replace(after, members=members or after.members)


def measured(*groups):
    return group_metrics(groups, CONFIG, as_written)


def test_levels_before_and_after_mixing():
    hinted = right(origin=Origin.HINTED)
    failed = group(wrong("1"), wrong("1"))
    mixed = retried(failed, [hinted, wrong("2", origin=Origin.HINTED)], members=(hinted, failed.members[1]))
    found = measured(mixed, group(right(), right(), index=1), group(right(), wrong(), index=2))
    assert found["group/none_pass_frac_before"] == pytest.approx(1 / 3)
    assert found["group/none_pass_frac_after"] == 0
    assert found["group/some_pass_frac_after"] == pytest.approx(2 / 3)
    assert (found["reward/mean_before"], found["reward/mean_after"]) == (pytest.approx(3 / 6), pytest.approx(4 / 6))
    assert (found["rescue/hinted_rate"], found["rescue/hinted_hit_frac"]) == (1, 0.5)
    assert found["rescue/hinted_correct_hist"] == [0, 1, 0] and found["rescue/used_hist"] == [0, 1, 0]
    assert "rescue/plain_rate" not in found


def test_a_histogram_loses_no_group_that_had_more_than_g_rollouts():
    many = [right(origin=Origin.HINTED)] * 5
    rescued = retried(group(*[wrong()] * 5), many, members=(*many[:4], wrong()))
    found = measured(rescued, retried(group(wrong(), wrong(), index=1), [wrong(origin=Origin.HINTED)] * 2))
    assert found["rescue/hinted_correct_hist"] == [1, 0, 0, 0, 0, 1]
    assert found["rescue/used_hist"] == [1, 0, 0, 0, 1]


def test_a_rescue_in_the_second_round_is_one_rescue_of_one_group():
    first = retried(group(wrong("1"), wrong("1")), [wrong("2", origin=Origin.HINTED)] * 2)
    second = retried(first, [right(origin=Origin.HINTED), wrong("3", origin=Origin.HINTED)], answers=("1", "2"))
    found = measured(second)
    assert (found["rescue/hinted_rate"], found["rescue/hinted_hit_frac"], found["rescue/hinted_groups"]) == (1, 0.25, 1)


def test_failure_modes_are_those_of_none_pass_groups_whatever_the_strategy():
    found = measured(
        group(wrong(truncated=True), wrong(truncated=True)),
        group(wrong(), wrong(truncated=True), index=1),
        group(wrong(), wrong(), index=2),
        group(rollout(Status.NO_ANSWER), rollout(Status.UNPARSABLE), index=3),
        group(right(), wrong(), index=4),
    )
    assert [found[f"failure/{mode}_frac"] for mode in FailureMode] == [0.25] * 4
    assert not any(key.startswith("failure/") for key in measured(group(right(), wrong())))


def test_leakage_over_all_and_over_trained_hinted_responses():
    leaking = wrong("1", origin=Origin.HINTED, text="as the note says, 1 is wrong")
    clean = right(origin=Origin.HINTED, text="it is 42")
    failed = group(wrong("1", text="it is 1"), wrong("2", text="it is 2"))
    found = measured(retried(failed, [leaking, clean], members=(clean, failed.members[1])))
    assert found["leak/all_repeats_answer_frac"] == 0.5 and found["leak/trained_repeats_answer_frac"] == 0
    assert found["leak/all_names_hint_frac"] == 0.5 and found["leak/trained_names_hint_frac"] == 0
    assert found["leak/all_contains_answer_excess"] == pytest.approx(0.0)  # (1 - .5 + 0 - .5) / 2
    assert found["leak/trained_contains_answer_excess"] == -0.5


def test_an_answer_repeats_by_mathematical_equality():
    half = wrong("0.5", origin=Origin.HINTED)
    before = retried(group(wrong("1/2"), wrong("1/2")), [half], answers=("1/2",))
    found = group_metrics([before], CONFIG, lambda pairs: [pair == ("1/2", "0.5") for pair in pairs])
    assert found["leak/all_repeats_answer_frac"] == 1


def test_undecided_rollouts_are_counted_and_leave_the_reward():
    found = measured(group(right(), rollout(Status.TIMEOUT)))
    assert (found["sample/undecided"], found["reward/mean_before"], found["verdict/timeout_frac"]) == (1, 1.0, 0.5)


def test_what_length_took_off_is_shown_where_it_is_taken():
    its = group(right(tokens=range(10)), wrong(tokens=range(2)))
    settings = {"sample": {"group_size": 2, "response_budget": 10}, "overlong": {"shaping": "soft", "buffer": 4}}
    assert group_metrics([its], build(settings), as_written)["reward/shaping_mean"] == -0.5
    assert "reward/shaping_mean" not in measured(its)


def test_given_solutions_are_counted_and_are_neither_rescues_nor_drawn():
    traces = [make(origin=Origin.TRACE, tokens=range(50)) for make in (right, wrong)]
    groups = [group(wrong(), wrong(), index=n) for n in range(4)]
    mixed = [
        retried(its, [trace], (), Origin.TRACE, members=(trace, its.members[1]))
        for its, trace in zip(groups, traces, strict=False)
    ]
    found, without = measured(*mixed, *groups[2:]), measured(*groups)
    assert (found["trace/group_frac"], found["trace/correct_frac"]) == (0.5, 0.5)
    assert not any(key.startswith("rescue/") for key in found) and not any(key.startswith("trace/") for key in without)
    assert (found["group/none_pass_frac_before"], found["group/none_pass_frac_after"]) == (1, 0.75)
    for key in ("sample/rollouts", "sample/tokens", "verdict/equal_frac", "response/length_max"):
        assert found[key] == without[key]


def test_notes_are_a_cost_and_nothing_else():
    before = group(wrong("1"), wrong("2"))
    retry = Retry((Part(Prompt("hinted", (1,)), 1),), Origin.HINTED, None, ("1",), Purpose.NOTE)
    note = Attempt(retry, (rollout(None, tokens=(1, 2, 3), origin=Origin.HINTED),))
    plain, noted = measured(before), measured(replace(before, attempts=(note,)))
    assert noted == plain | {"sample/notes": 1, "sample/tokens": plain["sample/tokens"] + 3}


def test_what_was_given_is_no_drawn_token():
    fork = replace(right(tokens=(1, 2, 3, 4), origin=Origin.EXTRA), n_given=3)
    found = measured(retried(group(wrong(), wrong()), [fork], origin=Origin.EXTRA))
    assert found["sample/tokens"] == 2 + 2 + 1 and found["sample/given_tokens"] == 3
    assert found["rescue/plain_rate"] == 1


def test_of_responses_that_were_told_the_answer_those_that_say_it_early_are_counted():
    """One begins with it, one ends with it; a hint that lists wrong answers tells nothing."""
    told, text = Prompt("six times seven, which is 42", (1,)), "steps and more steps"
    drawn = [replace(right(origin=Origin.HINTED, text=each), prompt=told) for each in (f"42: {text}", f"{text} is 42")]
    retry = Retry.of(told, 2, Origin.HINTED, mode=None)
    guided = replace(group(*[wrong()] * 2), attempts=(Attempt(retry, tuple(drawn)),))
    found = measured(guided)
    assert found["leak/early_gold_frac"] == 0.5 and found["sample/further_verdicts"] == 2
    asked = replace(guided, prompt=Prompt("which is 42 of 41 and 42", (1,)))
    assert "leak/early_gold_frac" not in measured(asked)  # the problem says it
    listed = retried(group(wrong("1"), wrong("2")), [right(origin=Origin.HINTED, text="42 it is")])
    assert "leak/early_gold_frac" not in measured(listed) and measured(group(right()))["sample/further_verdicts"] == 0
