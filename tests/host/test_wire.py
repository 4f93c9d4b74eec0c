"""Groups reach another process as they were."""

from dataclasses import fields, replace

import numpy as np
import pytest
from handmade import group, right, rollout, wrong

from lte_jax.records import (
    Attempt,
    Context,
    FailureMode,
    Given,
    Kind,
    Lesson,
    Origin,
    Part,
    Prompt,
    Purpose,
    Response,
    Retry,
    Span,
    Status,
)
from lte_jax.run.wire import ARRAYS, decode_groups, encode_groups

HINTED = Prompt("not 3, not 4", (7, 8, 9))


def rescued():
    """A none-pass group with one undecided rollout, whose hinted round brought one right answer."""
    hinted = [replace(r, prompt=HINTED, round=1, index=n) for n, r in enumerate([wrong("5"), right()])]
    hinted = [
        replace(
            r,
            origin=Origin.HINTED,
            response=replace(r.response, sampled_logp=np.asarray(r.response.sampled_logp) - 0.5),
        )
        for r in hinted
    ]
    hinted[1] = replace(hinted[1], verified=wrong("8").verdict)
    hinted[0] = replace(hinted[0], trained_on=Context.OWN, kinds=(Span(1, Kind.UNTRAINED), Span(1, Kind.ON_POLICY)))
    before = group(wrong("3"), wrong("4"), rollout(Status.TIMEOUT), index=5)
    retry = Retry.of(HINTED, 2, Origin.HINTED, FailureMode.NONE_TRUNCATED, ("3", "4"))
    return replace(
        before,
        members=(before.initial[0], hinted[1], before.initial[2]),
        attempts=(Attempt(retry, tuple(hinted)),),
        advantages=(((0, -0.5), (1, 0.25)), 0.5, None),
        entropy_scale=0.25,
        lessons=(Lesson(HINTED, (4, 5, 2), 0.5, 1),),
        seen="0110",
    )


def forked():
    """Its first round has two prompts; then a note; then a first rollout's beginning, twice continued, beside another
    prompt with an empty one."""
    first = replace(wrong("3", tokens=(4, 5, 6)), response=Response((4, 5, 6), THIRDS, THIRDS[::-1], False))
    before = group(first, replace(wrong("4"), prompt=HINTED), index=6)
    note = replace(rollout(None, text="look again"), prompt=HINTED, round=1)
    noted = Attempt(Retry((Part(HINTED, 1),), Origin.HINTED, None, purpose=Purpose.NOTE), (note,))
    kept = first.beginning(2)
    kinds = (*kept.kinds, Span(1, Kind.ON_POLICY))
    drawn = [replace(first, round=2, index=n, n_given=2, kinds=kinds, origin=Origin.EXTRA) for n in range(2)]
    parts = Part(before.prompt, 2, kept), Part(Prompt("a third", (9,)), 1, first.beginning(0))
    other = replace(right(round=2, index=2), prompt=parts[1].prompt)
    tried = Attempt(Retry(parts, Origin.EXTRA, None), (*drawn, other))
    return replace(before, members=(drawn[1], other), attempts=(noted, tried))


THIRDS = tuple(float(x) for x in np.float32([-1 / 3, -2 / 3, -4 / 3]))


def rows(its):
    return [*its.initial, *(r for attempt in its.attempts for r in attempt.rollouts)]


def test_a_group_comes_back_with_everything_in_it():
    trace = right(origin=Origin.TRACE, round=1)
    part = Part(trace.prompt, 1, Given.written((5, 6), Kind.OFF_POLICY, whole=True))
    given = Attempt(Retry((part,), Origin.TRACE, None), (trace,))
    sent = [rescued(), group(right(), wrong()), replace(group(wrong(), wrong()), attempts=(given,)), forked()]
    came = decode_groups(encode_groups(sent))
    for there, here in zip(came, sent, strict=True):
        for name in ("problem", "prompt", "step", "index", "advantages", "entropy_scale", "lessons", "seen"):
            assert getattr(there, name) == getattr(here, name)
        assert [attempt.retry for attempt in there.attempts] == [attempt.retry for attempt in here.attempts]
        for got, wanted in zip(rows(there), rows(here), strict=True):
            for name in ARRAYS:
                values = [getattr(r.response, name) for r in (got, wanted)]
                np.testing.assert_array_equal(values[0], np.asarray(values[1], ARRAYS[name]), err_msg=name)
            for name in {field.name for field in fields(wanted)} - {"response"}:
                assert getattr(got, name) == getattr(wanted, name)
            assert got.response.truncated == wanted.response.truncated


def test_a_member_is_still_one_of_the_groups_rollouts():
    came = decode_groups(encode_groups([rescued()]))[0]
    assert came.members[1] is came.attempts[0].rollouts[1]
    assert came.members[0] is came.initial[0]


def test_what_arrives_is_as_exact_as_what_the_engine_draws():
    logp = np.float32([-0.1, -1e-7, -12.3456789])
    sent = replace(right(), response=Response(np.int32([5, 2**31 - 1, 0]), logp, logp - 1, truncated=True))
    came = decode_groups(encode_groups([group(sent)]))[0].members[0].response
    assert came.behaviour_logp.tobytes() == logp.tobytes() and came.sampled_logp.tobytes() == (logp - 1).tobytes()
    assert came.tokens.tolist() == [5, 2**31 - 1, 0]


@pytest.mark.parametrize("text", ["", "\x00 \ud7ff 😀 \u2028 \\boxed{\x1b[31m}"])
def test_any_text_of_a_model_arrives(text):
    assert decode_groups(encode_groups([group(replace(right(), text=text))]))[0].members[0].text == text


def test_a_process_without_a_share_sends_nothing():
    assert decode_groups(encode_groups([])) == []
