"""Strategies that go on behind a beginning, that ask for notes, or that keep what was solved, against what was worked
out by hand."""

import json
from dataclasses import replace

import pytest
from handmade import PROMPT, group, right, wrong
from played import play
from test_prompts import WordTokenizer

from lte_jax.config import build
from lte_jax.host.prompts import PromptBuilder
from lte_jax.host.strategies import make_strategy
from lte_jax.host.strategies.places import surprising
from lte_jax.host.strategies.reflect import without_beginning
from lte_jax.records import Kind, Origin, Plan, Problem, Span
from lte_jax.toy.arithmetic import step_scores

PROBLEM = Problem("p0", "six times seven", "42")
PLAN = Plan(PROBLEM, PROMPT, 4)
CONTEXTS = {
    "answer": "{problem} answer {answer}",
    "idea": "{problem} idea",
    "critique": "{problem} critique {attempt} {feedback}",
    "notes": "{problem} notes {notes}",
}
UNTRAINED, ON, OFF = Kind.UNTRAINED, Kind.ON_POLICY, Kind.OFF_POLICY


class Words(WordTokenizer):
    """A token for each word, its length; decoded, as many letters and a blank."""

    stop_ids = (0,)

    def encode(self, text):
        return [len(word) for word in text.split()]

    def decode(self, tokens):
        return " ".join("x" * token for token in tokens)


def strategy(name, explore=None, sample=None, **args):
    values = {"sample": {"group_size": 4, **(sample or {})}, "prompt": {"contexts": CONTEXTS}}
    config = build({**values, "explore": {"strategy": name, "args": args, **(explore or {})}})
    return make_strategy(config, PromptBuilder(config.prompt, Words()), lambda pairs: [False] * len(pairs))


def script(*rounds, tokens=(5, 6, 7, 8), text="it is w"):
    """Each round's outcomes; texts name their place."""

    def say(n_round, index, part):
        outcomes = rounds[n_round]
        return bool(outcomes[index]), tokens, f"{text}{index}"

    return say


def asked(its, n_round=0):
    """(prompt's text, n, given tokens) of each part of a further round."""
    parts = its.attempts[n_round].retry.parts
    return [(part.prompt.text, part.n, part.given and part.given.tokens) for part in parts]


# notes


def test_notes_are_used_and_learned_by_the_success_of_their_solutions():
    """2 notes with 4 solutions each, of which 1 and 3 are right: rewards .25 and .75."""
    its = play(strategy("notes", learn=2.0), PLAN, script([0] * 4, [0, 0], [0, 1, 0, 0, 1, 1, 1, 0]))
    assert asked(its) == [("six times seven idea", 2, None)] and its.attempts[0].is_note
    notes = [("six times seven notes it is w0", 4, None), ("six times seven notes it is w1", 4, None)]
    assert asked(its, 1) == notes and len(its.attempts) == 2
    assert [(lesson.weight, lesson.prompt.text) for lesson in its.lessons] == [
        (2 * (0.25 - 0.5), "six times seven idea"),
        (2 * (0.75 - 0.5), "six times seven idea"),
    ]
    assert sum(member.correct for member in its.members) == 3  # keep_failed leaves one
    assert all(member.off_policy for member in its.members if member.correct)
    assert play(strategy("notes"), PLAN, script([0] * 4, [0, 0], [0] * 8)).lessons == ()
    assert play(strategy("notes"), PLAN, script([1, 0, 0, 0])).attempts == ()


def test_a_note_that_says_the_answer_or_nothing_is_not_used():
    def say(n_round, index, part):
        return False, (5, 6), ["so it is 42", " ", "think"][index] if n_round == 1 else ""

    its = play(strategy("notes", n=3, solutions=1), PLAN, say)
    assert asked(its, 1) == [("six times seven notes think", 1, None)]
    silent = play(strategy("notes", n=2), PLAN, say)
    assert len(silent.attempts) == 1 and silent.members == silent.initial  # neither is of use


def test_notes_may_be_critiques_of_the_first_failure():
    its = play(
        strategy("notes", ask="critique", n=1, solutions=1, trigger="every"), PLAN, script([1, 0, 0, 0], [0], [1])
    )
    assert asked(its) == [("six times seven critique it is w1 its final answer w1 is not right.", 1, None)]


# reflect


def test_reflect_criticises_each_wrong_attempt_and_tries_it_again():
    def say(n_round, index, part):
        tokens = {0: (1, 2, 3 + index, 9), 1: (7, 7), 2: (1, 2, 8, 9)}[n_round]
        return (n_round, index) in {(0, 0), (2, 0)}, tokens, f"{'abc'[n_round]}{index}"

    its = play(strategy("reflect", sample={"group_size": 6}), replace(PLAN, n=6), say)
    assert [member.correct for member in its.initial] == [True, False, False]  # half of 6
    assert [text for text, *_ in asked(its)] == [
        "six times seven critique a1 its final answer w1 is not right.",
        "six times seven critique a2 its final answer w2 is not right.",
    ]
    assert [text for text, *_ in asked(its, 1)] == ["six times seven notes b0", "six times seven notes b1"]
    assert [member.correct for member in its.members] == [True, False, False, True, False]  # failed retries stay
    # an attempt and its retry begin with 1, 2: what is alike is trained in neither
    pivots = [(Span(2, UNTRAINED), Span(2, ON))] * 2 + [(Span(2, UNTRAINED), Span(2, OFF))] * 2
    assert [member.spans for member in its.members] == [(Span(4, ON),), *pivots]
    assert [(lesson.tokens, lesson.prompt.text[:24]) for lesson in its.lessons] == [
        ((7, 7), "six times seven critique"),
        ((1, 2, 8, 9), "six times seven notes b0"),
    ]


def test_reflect_without_pivot_and_lessons_and_with_nothing_wrong():
    its = play(strategy("reflect", pivotal=False, lessons=0), PLAN, script([1, 0], [0], [1]))
    assert its.lessons == () and {member.spans for member in its.members} == {(Span(4, ON),), (Span(4, OFF),)}
    assert play(strategy("reflect"), PLAN, script([1, 1])).attempts == ()


def test_three_tokens_of_a_pivot_are_not_trained():
    member = replace(right(tokens=range(5)), kinds=(Span(1, UNTRAINED), Span(4, ON)))
    assert without_beginning(member, 3).spans == (Span(3, UNTRAINED), Span(2, ON))
    assert without_beginning(member, 0) is member


# solved


def test_seldom_solved_problems_come_with_what_solved_them():
    its = strategy("solved")
    first = play(its, PLAN, script([0, 1, 0, 0]))
    assert first.attempts == ()
    memory = json.loads(json.dumps(its.observe({}, [first])))
    assert memory == {"solved": {"p0": [[[5, 6, 7, 8], [-1.0, -1.1, -1.2, -1.3], [-1.0, -1.1, -1.2, -1.3]]]}}
    again = play(its, PLAN, script([1, 0, 0, 0], [1]), memory)
    kept, *others = again.members
    assert others == list(again.initial[1:]) and kept.origin is Origin.TRACE and kept.off_policy
    assert kept.response.behaviour_logp == (-1.0, -1.1, -1.2, -1.3) and kept.spans == (Span(4, OFF),)
    both = its.observe(memory, [again])["solved"]["p0"]
    assert len(both) == 2 and both[1] == memory["solved"]["p0"][0]
    often = play(its, PLAN, script([1, 1, 0, 0], [1]), memory)
    assert its.observe(memory, [often]) == {"solved": {}}


def test_what_is_kept_is_bounded_and_leaves_an_own_response():
    its = strategy("solved", most=9, tokens=10)
    entry = [[5, 6, 7, 8], [-1.0] * 4, [-1.0] * 4]
    full = play(its, PLAN, script([0] * 4, [1] * 3), {"solved": {"p0": [entry] * 9}})
    assert [member.origin for member in full.members] == [Origin.TRACE] * 3 + [Origin.PLAIN]
    more = its.observe({"solved": {"old": [entry], "older": [entry]}}, [play(its, PLAN, script([0, 1, 0, 0]))])
    assert list(more["solved"]) == ["older", "p0"]


# restart, scope


def test_lte_with_a_prefix_goes_on_behind_each_failure():
    its = play(strategy("restart"), PLAN, script([0] * 4, [1, 0, 0, 0], tokens=(5, 6, 7, 8)))
    hint = "six times seven\n\nThese final answers are known to be wrong: w0, w1, w2, w3."
    assert all(text.startswith(hint) and (n, given) == (1, (5, 6)) for text, n, given in asked(its))
    rescued = next(member for member in its.members if member.correct)
    assert rescued.spans == (Span(2, ON), Span(4, OFF)) and rescued.response.behaviour_logp[:2] == (-1.0, -1.1)
    assert play(strategy("restart"), PLAN, script([1, 0, 0, 0])).attempts == ()


def test_scope_goes_on_before_the_first_wrong_step():
    """`12 + 1 = 0 ;` is right mod 13, `0 * 5 = 3 ;` is not: what is kept is 6 tokens."""
    steps = "12 + 1 = 0 ; 0 * 5 = 3 ; \\boxed{ 3 }"
    tokens = tuple(Words().encode(steps))
    its = strategy("scope", steps="lte_jax.toy.arithmetic:step_scores", separator=";")
    its.check([PROBLEM], print)
    made = play(its, PLAN, lambda n_round, index, part: (n_round == 1 and index == 2, tokens, steps))
    assert asked(made) == [("plain", 1, tokens[:6])] * 4 and tokens[:6] == (2, 1, 1, 1, 1, 1)
    rescued = next(member for member in made.members if member.correct)
    assert rescued.spans == (Span(6, ON), Span(len(tokens), ON)) and rescued.origin is Origin.EXTRA
    assert its.tools.decisions.taken(made) == {"0/steps": [6] * 4}


def test_scope_draws_anew_where_the_first_step_is_wrong():
    its = strategy("scope", steps="lte_jax.toy.arithmetic:step_scores", separator=";")
    made = play(its, PLAN, lambda n_round, index, part: (False, (2, 1, 1, 1, 1, 1), "12 + 1 = 5 ;"))
    assert asked(made) == [("plain", 1, None)] * 4
    with pytest.raises(ValueError, match="explore.args.steps = "):
        strategy("scope").check([PROBLEM], print)


def test_a_step_at_the_threshold_is_not_wrong():
    its = strategy("scope", steps="played:one_is_below_half", separator=";")
    made = play(its, PLAN, lambda n_round, index, part: (False, (1, 2, 3, 4), "x ;xx ;"))
    assert its.tools.decisions.taken(made) == {"0/steps": [2] * 4}


@pytest.mark.parametrize(
    ("step", "score"), [(" 7 + 8 = 2 ", 1), ("7 + 8 = 15", 0), ("7 * 8 = 4", 1), (" 2 * 2 = 5", 0), ("\\boxed{ 9 }", 1)]
)
def test_the_built_in_task_judges_steps_by_rule(step, score):
    assert step_scores(PROBLEM, ["7 + 8 = 2", step]) == [1, score]


# forks, rose


def test_the_most_surprising_places_are_those_of_least_log_prob():
    """By hand: -log p = (.1, 2, .3, 1.5): 1, then 3; never the first token, nor what was given."""
    its = wrong(tokens=range(4), logp=(-0.1, -2.0, -0.3, -1.5))
    assert surprising(its, 2) == [1, 3] and surprising(its, 9) == [1, 3, 2]
    assert surprising(its, 2, frozenset({1})) == [3, 2] and surprising(replace(its, n_given=2), 9) == [3, 2]
    assert surprising(wrong(tokens=(1,)), 3) == []


def test_forks_draw_branches_of_the_most_uncertain_places():
    """M (1 + B N) = 2 (1 + 2 x 2) members; the script's log-probs fall along a response."""
    its = play(strategy("forks"), replace(PLAN, n=11), script([0, 1], [0] * 8))
    assert [given for _, _, given in asked(its)] == [(5, 6), (5, 6, 7)] * 2 and {n for _, n, _ in asked(its)} == {2}
    assert len(its.members) == 10 and {member.spans[-1].kind for member in its.members} == {ON}
    saved = sum(member.n_given for member in its.members)
    assert saved == 2 * (2 * 2 + 2 * 3)
    assert len(play(strategy("forks"), PLAN, script([0], [0] * 4)).members) == 5  # one tree at least


def test_rose_draws_one_after_another_and_forks_no_place_twice():
    its = play(strategy("rose", fresh=0.0, sample={"group_size": 5}), PLAN, script([0], *[[0]] * 4))
    assert len(its.members) == 5 and len(its.initial) == 1
    # least log-prob: the last token of the first; then of each new response, which goes on behind
    given = [asked(its, place)[0][2] for place in range(4)]
    assert given[0] == (5, 6, 7) and len({tuple(each) for each in given}) == 4
    fresh = play(strategy("rose", fresh=1.0), PLAN, script([0], *[[0]] * 3))
    assert [asked(fresh, place)[0][2] for place in range(3)] == [None] * 3
    mixed = [play(strategy("rose"), PLAN, script([0], *[[0]] * 3), step=step) for step in range(20)]
    n_forked = sum(member.n_given > 0 for each in mixed for member in each.members)
    assert (
        15 < n_forked < 45
        and mixed[3].members[1].n_given
        == play(strategy("rose"), PLAN, script([0], *[[0]] * 3), step=3).members[1].n_given
    )


def test_rose_passes_over_a_place_that_is_forked_already_whatever_its_log_prob():
    first = wrong(tokens=(1, 2, 3, 4), logp=(-1.0, -2.0, -9.0, -3.0))
    fork = replace(wrong(tokens=(1, 2, 7, 8), logp=(-1.0, -2.0, -0.5, -0.4)), n_given=2)
    given = [
        strategy("rose", fresh=0.0).retry(group(*members), {}).parts[0].given.tokens
        for members in ((first,), (first, fork))
    ]
    assert given == [(1, 2), (1, 2, 3)]


# hipo


def test_hipo_draws_a_seldom_solved_problem_behind_a_right_beginning():
    tokens = tuple(range(40))
    its = play(strategy("hipo"), PLAN, script([0, 1, 0, 0], [1, 0, 1, 0], tokens=tokens))
    ((text, n, given),) = asked(its)
    assert (text, n) == ("plain", 4) and given == tokens[: len(given)] and len(given) in range(2, 19, 2)
    assert its.members == its.attempts[0].rollouts and its.members[0].spans == (
        Span(len(given), UNTRAINED),
        Span(40, ON),
    )
    same = play(strategy("hipo"), PLAN, script([0, 1, 0, 0], [1, 1, 1, 1], tokens=tokens))
    assert same.members == same.initial  # no gradient in the new one
    drawn = {
        len(asked(play(strategy("hipo"), PLAN, script([0, 1, 0, 0], [0] * 4, tokens=tokens), step=s))[0][2])
        for s in range(60)
    }
    assert drawn == set(range(2, 19, 2))
    for outcomes in ([0] * 4, [1, 1, 0, 0], [1] * 4):
        assert play(strategy("hipo"), PLAN, script(outcomes, tokens=tokens)).attempts == ()


# evocot


def test_evocot_begins_with_its_explanation_and_loses_the_last_steps_one_by_one():
    its, memory, begun = strategy("evocot", n=2), {}, []

    def say(n_round, index, part):
        return n_round == 1 and index == 1, (5, 6), "one two\n\nthree\n\nit is 42" if n_round else "no"

    for _ in range(4):
        made = play(its, PLAN, say, memory)
        begun.append(made.initial[0].response.tokens[: made.initial[0].n_given])
        memory = json.loads(json.dumps(its.observe(memory, [made])))
    assert begun == [(), (3, 3, 5), (3, 3), ()]
    first = play(its, PLAN, say)
    assert asked(first) == [("six times seven answer 42", 2, None)] and first.members == first.initial
    explained = play(its, PLAN, say, {"explained": {"p0": ["one two\n\nthree\n\nit is 42", 1]}})
    assert explained.attempts == () and explained.initial[0].spans == (Span(3, UNTRAINED), Span(2, ON))


@pytest.mark.parametrize("text", ["42 it is\n\nso 42", "x" * 9000 + "\n\n42", "42"])
def test_evocot_keeps_no_explanation_that_says_the_answer_early_or_is_too_long_or_of_one_piece(text):
    its = strategy("evocot")
    made = play(its, PLAN, lambda n_round, index, part: (n_round == 1, (5, 6), text))
    assert its.observe({}, [made]) == {"explained": {}}


# LTE's lists


@pytest.mark.parametrize(
    ("args", "memory", "seen", "listed"),
    [
        ({}, {}, "", "7, 8, 9"),
        ({"order": "frequent"}, {}, "", "8, 9, 7"),
        ({"remember": 9}, {"wrong": {"p0": ["5", "8"]}}, "", "7, 8, 9, 5"),
        ({"fade": True}, {}, "0010", "7, 8, 9"),
        ({"fade": True}, {}, "0110", "7, 8"),
        ({"fade": True}, {}, "1110", "7"),
    ],
)
def test_ltes_lists_may_go_by_frequency_remember_and_fade(args, memory, seen, listed):
    its = strategy("lte", **args)
    first = replace(group(*map(wrong, ["7", "8", "9", "8", "9", "8"])), seen=seen)
    text = its.retry(first, memory).prompt.text
    assert f"known to be wrong: {listed}." in text


def test_lte_remembers_the_wrong_answers_of_problems_until_they_are_solved():
    its = strategy("lte", remember=3)
    memory = its.observe({}, [group(wrong("7"), wrong("8")), group(wrong("1"), right(), index=1)])
    assert memory == {"wrong": {"p0": ["7", "8"]}}
    memory = its.observe(memory, [group(wrong("9"), wrong("8"))])
    assert memory == {"wrong": {"p0": ["9", "8", "7"]}}
    assert its.observe(memory, [group(wrong("9"), right())]) == {"wrong": {}}
    assert strategy("lte").observe({}, [group(wrong("7"))]) == {}
