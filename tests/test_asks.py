"""What a strategy may ask for: several prompts in one round, responses that are continued, notes, a first round of its own."""

from dataclasses import replace

import numpy as np
import pytest
import rounding
import tiny
from scripted import PLANS, SAMPLING, STOP_IDS, Again, collect, engine, no, prompt, spell, without_stop

from lte_jax.engine.rollout import TRAIN
from lte_jax.host.diagnose import all_rollouts, last_round
from lte_jax.host.tokenizers.stops import StopStrings
from lte_jax.records import (
    Annealing,
    Attempt,
    Context,
    Given,
    Group,
    Kind,
    Origin,
    Part,
    Plan,
    Purpose,
    Request,
    Response,
    Retry,
    Rollout,
    Span,
    Verdict,
)

# Of a log-prob: what is given is prefilled, not decoded, so its keys and values are summed in another order
LOGP = rounding.bound(rounding.forward(tiny.ARCH, 9 + 40), magnitude=8)
COOLING = replace(SAMPLING, annealing=Annealing(high=2.2, low=0.9, decay=30.0, after=3))
ONE_SIZE = dict(length_bucket=64, shrink=False)  # few programs
REQUESTS = [Request(plan.prompt, (7, TRAIN, 2, n, 0, 0)) for n, plan in enumerate(PLANS * 2)]


def rollout(response: Response, **fields) -> Rollout:
    return Rollout(PLANS[0].prompt, Origin.PLAIN, 0, 0, response, "", **fields)


@pytest.mark.parametrize(
    ("sampling", "strings"),
    [(SAMPLING, ()), (COOLING, ()), (SAMPLING, ("1 2", "44"))],
    ids=["plain", "annealed", "stop strings"],
)
def test_a_response_that_is_continued_from_its_own_beginning_is_drawn_again_to_the_bit(sampling, strings):
    """With the same key: place, budget, temperature and end count from the response's start."""
    made = engine(cut=StopStrings(strings, without_stop).cut if strings else None, **ONE_SIZE)
    whole = dict(made.generate(REQUESTS, sampling))
    rng = np.random.default_rng(0)
    kept = {place: int(rng.integers(1, len(r))) for place, r in whole.items() if len(r) > 1}
    asked = [replace(REQUESTS[place], given=rollout(whole[place]).beginning(n)) for place, n in kept.items()]
    again = dict(made.generate(asked, sampling))
    assert len(kept) > 8 and sum(kept.values()) > 30
    for place, (of, n) in enumerate(kept.items()):
        np.testing.assert_array_equal(again[place].tokens, whole[of].tokens)
        assert again[place].truncated == whole[of].truncated
        for name in ("behaviour_logp", "sampled_logp"):
            ours, theirs = getattr(again[place], name), getattr(whole[of], name)
            np.testing.assert_array_equal(ours[:n], theirs[:n])
            np.testing.assert_allclose(ours[n:], theirs[n:], atol=LOGP)
    assert strings or any(response.truncated for response in again.values())


def test_branches_of_one_beginning_share_its_prefill_and_differ():
    given = Given.written(tuple(range(20, 31)) * 2, Kind.UNTRAINED)
    asked = [Request(prompt(9, 8), (7, TRAIN, 2, 0, 1, index), given) for index in range(5)]
    drawn = []
    for made in (engine(**ONE_SIZE), engine(shrink=False, prefill_rows=1)):
        drawn.append(dict(made.generate(asked, SAMPLING)))
        assert made.meter.take()[1]["prefill_tokens"] == 2 + 22
    assert all(response.tokens[:22].tolist() == [*given.tokens] for response in drawn[0].values())
    assert len({tuple(response.tokens) for response in drawn[0].values()}) == 5
    assert all(np.array_equal(response.tokens, drawn[1][place].tokens) for place, response in drawn[0].items())


def test_what_is_given_is_not_cut():
    """Nor is what is drawn, by a stop string that was given."""
    given = Given.written((8, 44, 9), Kind.UNTRAINED)
    asked = [Request(prompt(9, 8), (7, TRAIN, 2, 0, 1, index), given) for index in range(3)]
    cutting = engine(cut=StopStrings(("44",), without_stop).cut, **ONE_SIZE)
    cut, whole = dict(cutting.generate(asked, SAMPLING)), dict(engine(**ONE_SIZE).generate(asked, SAMPLING))
    for place, response in whole.items():
        drawn = response.tokens[3:].tolist()
        end = 3 + drawn.index(44) + 1 if 44 in drawn else None
        np.testing.assert_array_equal(cut[place].tokens, response.tokens[:end])


@pytest.mark.parametrize(
    ("tokens", "said"),
    [(range(5, 15), "begins with 10 given tokens, the budget is 10"), ((5, STOP_IDS[0]), "behind a token that stops it")],
)
def test_a_beginning_that_leaves_nothing_to_draw_is_refused(tokens, said):
    asked = [Request(prompt(9), (7, TRAIN, 2, 0, 1, 0), Given.written(tuple(tokens), Kind.UNTRAINED))]
    with pytest.raises(ValueError, match=said):
        list(engine(**ONE_SIZE).generate(asked, replace(SAMPLING, response_budget=10)))


def test_a_stop_string_in_what_is_given_ends_nothing():
    cut = StopStrings(("1 2", "44"), spell).cut
    given = [8, 1, 2, 9]
    assert cut([*given, 6, 7], len(given)) is None
    assert cut([*given, 6, 1, 2, 5], len(given)) == 7
    assert cut([8, 1, 2, 9, 1, 2, 5], 5) == 6  # one that begins in what is given ends behind it


def test_the_spans_of_a_beginning_are_those_of_its_rollout():
    response = Response(np.int32([5, 6, 7, 8]), np.float32([-1, -2, -3, -4]), np.float32([-1, -2, -3, -5]), False)
    kinds = (Span(1, Kind.UNTRAINED), Span(3, Kind.ON_POLICY))
    assert rollout(response).beginning(3) == Given((5, 6, 7), (-1, -2, -3), (-1, -2, -3), (Span(3, Kind.ON_POLICY),))
    assert rollout(response, kinds=kinds).beginning(3).kinds == (Span(1, Kind.UNTRAINED), Span(2, Kind.ON_POLICY))
    elsewhere = rollout(response, kinds=kinds, trained_on=Context.OWN).beginning(2)
    assert elsewhere.kinds == (Span(1, Kind.UNTRAINED), Span(1, Kind.OFF_POLICY))


class Forks(Again):
    """For every second group a note, then two parts in one round: its first rollout continued, and a hinted prompt."""

    forks = True

    def first(self, plan: Plan, memory: dict) -> tuple[Part, ...]:
        """Of every third group one response begins with a given text, one is a solution that is there, one is hinted."""
        if int(plan.problem.id[1:]) % 3:
            return super().first(plan, memory)
        step = Given.written((5, 6), Kind.UNTRAINED)
        trace = Given.written((5, 6, STOP_IDS[0]), Kind.OFF_POLICY, whole=True)
        return Part(plan.prompt, 2), Part(plan.prompt, 1, step), Part(plan.prompt, 1, trace), Part(HINTED, 1)

    def retry(self, group: Group, memory: dict) -> Retry | None:
        self.asked.append((group.index, len(group.attempts)))
        if group.index % 2 or len(group.attempts) == 2:
            return None
        if not group.attempts:
            return Retry((Part(NOTE, 2),), Origin.HINTED, None, purpose=Purpose.NOTE)
        fork = Part(group.prompt, 2, half(group))
        return Retry((fork, Part(HINTED, 1)), Origin.EXTRA, None)

    def merge(self, group: Group, attempt: Attempt) -> Group:
        assert not attempt.is_note
        return super().merge(group, attempt)


NOTE, HINTED = prompt(9, 9), prompt(8, 8)


def half(group: Group) -> Given:
    first = group.initial[0]
    return first.beginning(len(first.response) // 2)


@pytest.fixture(scope="module")
def forked() -> list[Group]:
    graded.clear()
    return collect(engine(**ONE_SIZE), Forks(), verify)


graded: list[str] = []


def verify(items) -> list[Verdict]:
    graded.extend(text for _, text, _ in items)
    return no(items)


def test_parts_of_one_round_come_in_their_order_and_say_where_drawing_began(forked):
    for group in forked[::2]:
        _, attempt = group.attempts
        assert [(r.round, r.index) for r in attempt.rollouts] == [(2, 0), (2, 1), (2, 2)]
        given = half(group)
        for rollout in attempt.rollouts[:2]:
            assert rollout.prompt == group.prompt and rollout.n_given == len(given)
            assert tuple(rollout.response.tokens[: len(given)]) == given.tokens and len(rollout.response) > len(given)
            n_drawn = len(rollout.response) - len(given)
            assert rollout.spans == (*given.kinds, Span(n_drawn, Kind.ON_POLICY))
            assert rollout.text == spell(rollout.response.tokens) == rollout.verdict.extracted
        assert attempt.rollouts[2].prompt == HINTED and attempt.rollouts[2].n_given == 0


def test_what_is_drawn_for_a_part_is_what_its_key_draws_alone(forked):
    group = forked[4]
    asked = [Request(group.prompt, (7, TRAIN, 2, 4, 2, 1), half(group)), Request(HINTED, (7, TRAIN, 2, 4, 2, 2))]
    alone = dict(engine(**ONE_SIZE).generate(asked, SAMPLING))
    for place, rollout in enumerate(group.attempts[1].rollouts[1:]):
        np.testing.assert_array_equal(alone[place].tokens, rollout.response.tokens)


def test_a_note_is_recorded_but_neither_graded_nor_merged(forked):
    for group in forked[::2]:
        note, _ = group.attempts
        assert [rollout.text for rollout in group.notes] == [rollout.text for rollout in note.rollouts]
        assert all(r.verdict is None and r.prompt == NOTE and r.text for r in note.rollouts)
        assert [attempt.retry.purpose for attempt in group.retries] == [Purpose.SOLUTION]
        assert last_round(group) == group.attempts[1].rollouts
        assert len(all_rollouts(group)) == len(group.initial) + 3
        assert not {id(r) for r in note.rollouts} & {id(member) for member in group.members}
    n_notes = sum(len(group.notes) for group in forked)
    assert n_notes == 6 and len(graded) == sum(len(all_rollouts(group)) for group in forked)


def test_a_strategy_may_shape_the_first_round_and_the_other_groups_draw_as_before(forked):
    plain = collect(engine(**ONE_SIZE), Again(rounds=0))
    for group, before in zip(forked, plain, strict=True):
        n_same = 3 if group.index % 3 else 2
        pairs = zip(group.initial[:n_same], before.initial, strict=False)
        assert all(np.array_equal(ours.response.tokens, theirs.response.tokens) for ours, theirs in pairs)
        assert group.initial == group.members and len(group.initial) == (3 if group.index % 3 else 5)
    step, trace, hinted = forked[3].initial[2:]
    assert step.n_given == 2 and step.spans[0] == Span(2, Kind.UNTRAINED) and step.spans[1].kind is Kind.ON_POLICY
    assert trace.n_given == 3 == len(trace.response) and trace.spans == (Span(3, Kind.OFF_POLICY),)
    assert hinted.origin is Origin.HINTED and hinted.off_policy and step.origin is Origin.PLAIN


def test_what_is_drawn_behind_a_beginning_does_not_depend_on_the_layout(forked):
    """Several sizes of prefills and caches, one prefill after the other."""
    many = collect(engine(shrink=False, prefill_rows=1), Forks())
    for ours, theirs in zip(many, forked, strict=True):
        pairs = zip(all_rollouts(ours), all_rollouts(theirs), strict=True)
        assert all(np.array_equal(a.response.tokens, b.response.tokens) for a, b in pairs)


def test_a_strategy_that_continues_responses_says_so():
    class Secret(Forks):
        forks = False

    with pytest.raises(ValueError, match="Secret continues given tokens, but its `forks` is False: wanted True"):
        collect(engine(**ONE_SIZE), Secret())


def test_a_strategy_that_draws_from_another_prompt_says_so():
    class Secret(Again):
        hints = False

    with pytest.raises(ValueError, match="Secret draws from another prompt than the group's, but its `hints` is False"):
        collect(engine(**ONE_SIZE), Secret())
    assert len(collect(engine(**ONE_SIZE), Secret(rounds=0))) == len(PLANS)


@pytest.mark.parametrize("trace", [(), (Part(prompt(5), 1, Given.written((5, 3), Kind.OFF_POLICY, whole=True)),)])
def test_a_first_round_without_anything_drawn_is_refused(trace):
    class Nothing(Again):
        def first(self, plan, memory):
            return trace

    with pytest.raises(ValueError, match="group 0, round 0: its strategy asks for no response, wanted one that is drawn"):
        collect(engine(**ONE_SIZE), Nothing())
