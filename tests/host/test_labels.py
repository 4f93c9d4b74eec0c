"""Labels by hand: majority and coins in place of the verifier's verdicts, which stay beside them."""

from dataclasses import replace
from itertools import count

import pytest
from handmade import group, right, rollout, wrong

from lte_jax.config import ConfigError, build
from lte_jax.host.advantage import with_advantages
from lte_jax.host.decisions import Decisions
from lte_jax.host.explore import Strategy
from lte_jax.host.labels import label_class, label_metrics, make_label
from lte_jax.host.problems import Answers, ProblemError, load_problems
from lte_jax.records import Attempt, Origin, Retry, Status
from lte_jax.storage.recorded import read_recorded
from lte_jax.storage.run_files import RunFiles


def spelled_alike(pairs):
    """1.0 is 1, and whether 1/2 is 0.5 was not decided in time."""
    return [None if {"1/2", "0.5"} == set(pair) else pair[0].rstrip(".0") == pair[1].rstrip(".0") for pair in pairs]


def labelled(its, name="majority", decisions=None, same_answer=spelled_alike, **args):
    config = build({"seed": 3, "explore": {"labels": name, "label_args": args, "strategy": "grpo"}})
    label = make_label(config, same_answer, decisions or Decisions())
    found = label.label(its, its.initial)
    return replace(its, initial=found, members=found)


def answers(*given):
    """A group with these final answers; None: no answer was found. By the verifier, 42 is right."""
    verdicts = [right() if a == "42" else wrong(a) if a else rollout(Status.NO_ANSWER) for a in given]
    return group(*verdicts)


@pytest.mark.parametrize(
    ("given", "correct", "gold"),
    [
        (("7", "7", "5", None), (1, 1, 0, 0), "7"),
        (("42", "7", "7", "42"), (1, 0, 0, 1), "42"),  # equally many: the first
        (("5", "1", "1.0", "1"), (0, 1, 1, 1), "1"),  # spellings of one answer vote together
        (("1/2", "0.5", "3", "3"), (0, 0, 1, 1), "3"),  # what is not decided is another answer
        ((None, None, "9", None), (0, 0, 1, 0), "9"),  # no answer never wins
        ((None, None), (0, 0), ""),
    ],
)
def test_the_majority_is_right(given, correct, gold):
    its = labelled(answers(*given))
    assert [r.correct for r in its.initial] == list(map(bool, correct))
    assert {r.verdict.gold for r in its.initial} == {gold}
    statuses = [Status.EQUAL if c else Status.DIFFERENT if a else Status.NO_ANSWER for a, c in zip(given, correct)]
    assert [r.verdict.status for r in its.initial] == statuses
    assert [r.verified.correct for r in its.initial] == [a == "42" for a in given]


def test_what_the_verifier_could_not_decide_votes_where_its_answer_was_found():
    its = labelled(group(rollout(Status.TIMEOUT, "7"), rollout(Status.CRASH), wrong("7")))
    assert [r.verdict.status for r in its.initial] == [Status.EQUAL, Status.CRASH, Status.EQUAL]
    assert its.initial[1].verified is None and not its.initial[1].decided


def test_a_further_round_is_graded_by_the_first_rounds_majority():
    config = build({"explore": {"labels": "majority", "strategy": "extra"}})
    label = make_label(config, spelled_alike, Decisions())
    first = answers("7", "7", "5")
    first = replace(first, initial=label.label(first, first.initial))
    drawn = tuple(replace(r, round=1) for r in answers("5", "5", "7.0").initial)
    assert [r.correct for r in label.label(first, drawn)] == [False, False, True]


def test_a_majority_that_was_decided_once_is_not_decided_again():
    """By a clock that lets a comparison time out then and not now."""
    its, decisions = answers("1", "1.0", "5", "5", "5"), Decisions()
    before = labelled(its, decisions=decisions, same_answer=lambda pairs: [None] * len(pairs))
    assert [r.correct for r in before.initial] == [False, False, True, True, True]
    taken = decisions.taken(its)
    assert taken == {"0/majority, round 0": ["5"]}
    assert [r.correct for r in labelled(its).initial] == [False, False, True, True, True]  # three of five
    tie = answers("1", "1.0", "5", "5")
    assert [r.correct for r in labelled(tie).initial] == [True, True, False, False]
    again = labelled(tie, decisions=Decisions({(0, 0): taken}))
    assert [r.correct for r in again.initial] == [False, False, True, True]


def test_coins_are_fair_keyed_by_rollout_and_deaf_to_what_it_says():
    its = group(*[right(), wrong(), rollout(Status.TIMEOUT), rollout(Status.NO_ANSWER)] * 2)
    coins = [r.correct for r in labelled(its, "random").initial]
    assert coins == [r.correct for r in labelled(group(*[wrong("3")] * 8), "random").initial]
    assert coins != [r.correct for r in labelled(replace(its, step=1), "random").initial]
    assert all(r.decided for r in labelled(its, "random").initial)
    tossed = [r.correct for step in range(200) for r in labelled(replace(its, step=step), "random").initial]
    assert abs(sum(tossed) / len(tossed) - 0.5) < 5 * 0.5 / len(tossed) ** 0.5
    rare = [r.correct for step in range(200) for r in labelled(replace(its, step=step), "random", p=0.1).initial]
    assert abs(sum(rare) / len(rare) - 0.1) < 5 * 0.3 / len(rare) ** 0.5


def test_advantages_follow_the_labels():
    """Two right by the coin of four: 0.866 and -0.866, whatever the verifier said."""
    for step in count():
        its = labelled(replace(answers("42", "7", "7", "7"), step=step), "random")
        if sum(r.correct for r in its.initial) == 2:
            break
    found = with_advantages(its, build({"advantage": {"eps": 0}})).advantages
    assert found == pytest.approx([0.866025 if r.correct else -0.866025 for r in its.initial], abs=1e-6)


def test_how_labels_and_verifier_agree_is_shown():
    groups = [labelled(answers("7", "7", "42", None)), labelled(answers("42", "42", "42", "1"))]
    assert label_metrics(groups) == {"label/agrees_frac": 5 / 8, "label/verified_frac": 4 / 8}
    attempt = Attempt(Retry.of(groups[0].prompt, 1, Origin.EXTRA, None), (replace(right(), verified=wrong().verdict),))
    assert label_metrics([replace(groups[0], attempts=(attempt,))])["label/agrees_frac"] == 1 / 5
    assert label_metrics([answers("7", "42")]) == {}
    unknown = answers("7", "7")
    unknown = replace(unknown, initial=tuple(replace(r, verdict=replace(r.verdict, gold="")) for r in unknown.initial))
    assert label_metrics([labelled(unknown)]) == {}


def test_the_run_folder_holds_both_verdicts_and_a_repeated_step_starts_from_the_verifiers(tmp_path):
    its = labelled(replace(answers("7", "7", "42", None), step=2))
    its = replace(its, initial=tuple(replace(r, text=f"text {r.index}") for r in its.initial))
    RunFiles(tmp_path).write_rollouts(2, [its])
    verdicts, _ = read_recorded(tmp_path, 2)
    assert [verdicts["p0", f"text {n}", False].correct for n in range(4)] == [False, False, True, False]
    assert {verdict.gold for verdict in verdicts.values()} == {"42"}


class Own(Strategy):
    """Says nothing of labels."""


class Taking(Own):
    takes_any_labels = True


def test_random_labels_with_hints_are_refused():
    for strategy in ("lte", "luffy", "scope", "test_labels:Own"):
        with pytest.raises(
            ConfigError, match=f"explore.strategy = {strategy} goes by what was wrong: wanted one of grpo"
        ):
            label_class(build({"explore": {"labels": "random", "strategy": strategy}}))
    for strategy in ("grpo", "extra", "test_labels:Taking"):
        assert not label_class(build({"explore": {"labels": "random", "strategy": strategy}})).needs_answers
    assert label_class(build({})).needs_answers
    with pytest.raises(ConfigError, match="explore.label_args: q"):
        labelled(answers("1", "2"), "random", q=1)


def test_problems_without_an_answer_are_taken_where_labels_need_none(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"problem": "x"}\n{"problem": "y", "answer": "3"}\n{"problem": "z", "answer": ""}\n')
    checked = []
    found = load_problems(path, Answers.TAKEN, check=checked.append)
    assert [problem.answer for problem in found] == ["", "3", ""] and checked == ["3"]
    with pytest.raises(ProblemError, match="'answer' is missing; .* where explore.labels needs none"):
        load_problems(path)
    assert [problem.answer for problem in load_problems(path, Answers.LEFT_OUT)] == ["", "", ""]
