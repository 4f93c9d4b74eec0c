"""The engine's order of things: no barrier between rounds, a layout that follows from the tokens, nothing lost."""

import json
import random
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rounding
import tiny
from scripted import LAYOUT, PLANS, SAMPLING, Again, G, collect, engine, no, prompt, spell, without_stop

from lte_jax.device import sampler
from lte_jax.device.mesh import own_mesh
from lte_jax.engine import slots
from lte_jax.engine.rollout import TRAIN, Engine
from lte_jax.host.tokenizers.stops import StopStrings
from lte_jax.records import FailureMode, Given, Group, Kind, Origin, Part, Request, Retry, Sampling
from lte_jax.storage.timeline import write_timeline


class Traced(Again):
    """As Again, but every second group gets two responses that are there already."""

    def retry(self, group: Group, memory: dict) -> Retry | None:
        if group.index % 2 == 0:
            return super().retry(group, memory)
        if group.attempts:
            return None
        traces = [Given.written(tokens, Kind.OFF_POLICY, whole=True) for tokens in ((5, 6, 3), (7, 3))]
        return Retry(tuple(Part(group.prompt, 1, trace) for trace in traces), Origin.TRACE, None)


def drawn(groups) -> dict:
    """Text by what it was drawn for."""
    rows = [(g.index, r) for g in groups for r in (*g.initial, *(r for a in g.attempts for r in a.rollouts))]
    return {(index, r.round, r.index): r.text for index, r in rows}


def layout(made: Engine) -> list:
    """Which request lay in which slot, in the order in which they were harvested."""
    _, _, spans = made.meter.take()
    return [(span.track, span.name, span.about["tokens"]) for span in spans if span.track.startswith("slot")]


def traced(**settings) -> Engine:
    made = engine(**settings)
    made.meter.tracing = True
    return made


def test_groups_come_in_problem_order_with_their_rollouts_by_index():
    groups = collect(engine(), Again(rounds=2))
    assert [g.problem.id for g in groups] == [f"p{n}" for n in range(6)] and [g.index for g in groups] == [*range(6)]
    for group in groups:
        assert [r.index for r in group.initial] == [0, 1, 2] and group.members == group.initial
        assert [a.rollouts[0].round for a in group.attempts] == ([1, 2] if group.index % 2 == 0 else [])
        assert all([r.index for r in a.rollouts] == [0, 1, 2] for a in group.attempts)
        assert {r.verdict.gold for r in group.initial} == {group.problem.answer}
        assert all(r.verdict.extracted == r.text == spell(r.response.tokens) for r in group.initial)


def test_groups_of_unequal_size_draw_what_each_would_alone():
    """A rollout's key is its place in its group: how many the others have changes nothing."""
    sizes = (1, 7, 3, 2, 12, 3)
    unequal = [replace(plan, n=n, seen="01" * n) for plan, n in zip(PLANS, sizes, strict=True)]
    groups, equal = collect(engine(), Again(), plans=unequal), drawn(collect(engine(), Again()))
    assert [len(g.initial) for g in groups] == [len(g.members) for g in groups] == [*sizes]
    assert [g.seen for g in groups] == ["01" * n for n in sizes]
    ours = drawn(groups)
    assert len(ours) == sum(sizes) + 3 * G
    assert all(ours[key] == equal[key] for key in ours.keys() & equal.keys())
    assert len(ours.keys() & equal.keys()) == 1 + 3 + 3 + 2 + 3 + 3 + 3 * G


@pytest.mark.parametrize(
    "settings",
    [dict(slots=1), dict(slots=64), dict(verdict_lag=0), dict(verdict_lag="free"), dict(shrink=False), dict(chunk=40)],
    ids=str,
)
def test_what_is_drawn_does_not_depend_on_the_layout(settings):
    assert drawn(collect(engine(**settings), Again())) == drawn(collect(engine(), Again()))


def test_a_collected_rollout_equals_the_same_request_drawn_alone():
    groups = collect(engine(), Again(rounds=2))
    rollout = groups[4].attempts[1].rollouts[2]
    alone = [Request(rollout.prompt, (7, TRAIN, 2, 4, 2, 2))]
    ((_, response),) = engine().generate(alone, SAMPLING)
    np.testing.assert_array_equal(response.tokens, rollout.response.tokens)
    assert response.truncated == rollout.response.truncated


@pytest.mark.parametrize("settings", [dict(slots=32, shrink=False), dict(slots=64, chunk=40)], ids=str)
def test_a_stop_string_keeps_a_prefix_of_what_is_drawn_without_it(settings):
    """Whole tokens, up to the one that completes the string, with the log-probs that they were drawn with."""
    strings = ("1 2", "44")
    cutting = engine(cut=StopStrings(strings, without_stop).cut, **settings)
    requests = [Request(text.prompt, (7, TRAIN, 0, n, 0, 0)) for n, text in enumerate(PLANS * 4)]
    cut, whole = dict(cutting.generate(requests, SAMPLING)), dict(engine().generate(requests, SAMPLING))
    tolerance = rounding.bound(rounding.forward(tiny.ARCH, 9 + 40), magnitude=8)  # logits; other slots, another program
    n_cut = 0
    for place, response in whole.items():
        texts = [without_stop(response.tokens[:end]) for end in range(1, len(response.tokens) + 1)]
        end = next((end for end, text in enumerate(texts, 1) if any(s in text for s in strings)), None)
        np.testing.assert_array_equal(cut[place].tokens, response.tokens[:end])
        for name in ("behaviour_logp", "sampled_logp"):
            np.testing.assert_allclose(getattr(cut[place], name), getattr(response, name)[:end], atol=tolerance)
        assert cut[place].truncated == (response.truncated and end is None)
        n_cut += end is not None
    assert 4 < n_cut < len(requests)
    _, counts, _ = cutting.meter.take()
    n_kept = sum(len(response.tokens) for response in cut.values())
    assert counts["tokens"] == n_kept + counts["cut_tokens"] and counts["cut_tokens"] > 0
    assert counts["cut_tokens"] < 2 * n_cut * (LAYOUT | settings)["chunk"]  # the chunk of the cut and the one in flight


def test_the_second_round_starts_while_the_first_is_still_being_drawn():
    made = traced()
    collect(made, Again())
    _, counts, spans = made.meter.take()
    first = [span for span in spans if "round 0" in span.name]
    second = [span for span in spans if "round 1" in span.name]
    assert len({span.name for span in first}) == 18 and len({span.name for span in second}) == 9
    assert min(span.start for span in second) < max(span.end for span in first)
    assert counts["shadow_tokens"] > 0


def test_the_layout_follows_from_the_tokens_and_not_from_the_clock():
    def slow(items):
        time.sleep(random.random() / 30)
        return no(items)

    made = traced(verdict_lag=2)
    asked = Again(rounds=2)
    collect(made, asked)
    expected = layout(made)
    for _ in range(2):
        again = Again(rounds=2)
        collect(made, again, slow)
        assert layout(made) == expected and again.asked == asked.asked


def test_given_responses_are_graded_and_take_no_part_in_the_drawing():
    def chunks(spans):
        return [span.about for span in spans if span.name == "decode"]

    made, without = traced(), traced()
    groups, others = collect(made, Traced()), collect(without, Again())
    (_, counts, spans), (_, fewer, others_spans) = made.meter.take(), without.meter.take()
    assert chunks(spans) == chunks(others_spans) and counts["decode_steps"] == fewer["decode_steps"]
    drawn_ones = {place: text for place, text in drawn(groups).items() if place[0] % 2 == 0 or place[1] == 0}
    assert drawn_ones == drawn(others)
    for group in groups[1::2]:
        (attempt,) = group.attempts
        assert [r.text for r in attempt.rollouts] == ["5 6 3", "7 3"] and [r.index for r in attempt.rollouts] == [0, 1]
        for rollout in attempt.rollouts:
            assert rollout.prompt == group.prompt and rollout.off_policy and not rollout.response.truncated
            assert rollout.verdict.gold == group.problem.answer
            given = rollout.response
            assert [*given.behaviour_logp] == [*given.sampled_logp] == [0.0] * len(given)


def test_free_verdicts_wait_for_no_slow_verifier():
    def slow(items):
        time.sleep(0.3)
        return no(items)

    made = engine(verdict_lag="free", slots=64)
    groups = collect(made, Again(), slow)
    assert drawn(groups) == drawn(collect(engine(), Again()))


def test_a_slot_that_is_found_free_is_refilled_before_another_chunk_is_launched(monkeypatch):
    """With the number of launched chunks for a clock."""
    n_launched, launch = 0, sampler.decode_chunk

    def counted(*arguments):
        nonlocal n_launched
        n_launched += 1
        return launch(*arguments)

    monkeypatch.setattr(sampler, "decode_chunk", counted)
    monkeypatch.setattr(slots, "time", SimpleNamespace(perf_counter=lambda: n_launched))
    made = traced(slots=4, shrink=False)
    list(made.generate([Request(p.prompt, (7, TRAIN, 0, n, 0, 0)) for n, p in enumerate(PLANS * 4)], SAMPLING))
    rows = [span for span in made.meter.take()[2] if span.track.startswith("slot")]
    n_refilled = 0
    for slot in {row.track for row in rows}:
        own = sorted((row for row in rows if row.track == slot), key=lambda row: row.start)
        assert all(after.start == before.end for before, after in zip(own, own[1:], strict=False))
        n_refilled += len(own) - 1
    assert n_refilled >= len(PLANS) * 4 - 4


def test_an_error_of_the_verifier_surfaces():
    def broken(items):
        raise RuntimeError("the verifier is gone")

    with pytest.raises(RuntimeError, match="the verifier is gone"):
        collect(engine(), Again(), broken)


def test_a_hinted_prompt_that_is_too_long_is_refused():
    class TooLong(Again):
        def retry(self, group, memory):
            return Retry.of(prompt(*range(5, 15)), G, Origin.HINTED, FailureMode.NONE_TRUNCATED)

    with pytest.raises(ValueError, match="a prompt has 10 tokens, the budget is 9"):
        collect(engine(), TooLong())


def test_two_processes_sample_without_lockstep_on_their_own_devices():
    """Other lengths, slots and calls in each; a process that waited for the other would hang."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    script, pipes = str(Path(__file__).with_name("two_processes.py")), dict(stdout=subprocess.PIPE, text=True)
    running = [subprocess.Popen([sys.executable, script, str(index), port], **pipes) for index in range(2)]
    found = [json.loads(process.communicate(timeout=500)[0].splitlines()[-1]) for process in running]
    assert [f["devices"] for f in found] == [4, 4] and not any(f["copied"] for f in found)
    for process, (count, budget) in enumerate([(5, 10), (11, 30)]):
        made = engine(length_bucket=8)
        made.stop_ids = np.array((3, 9, 17, 24, 31, 44), np.int32)
        made.max_prompt = 12
        asked = [
            Request(prompt(*range(5, 8 + 3 * process + n % 3)), (7, TRAIN, 0, 10 * process + n, 0, 0))
            for n in range(count)
        ]
        alone = dict(made.generate(asked, Sampling(1.7, 1.0, 0, budget)))
        assert {n: alone[n].tokens.tolist() for n in alone} == {int(n): t for n, t in found[process]["drawn"].items()}


def test_a_tensor_axis_that_spans_processes_is_refused(monkeypatch):
    class Far:
        def __init__(self, process_index):
            self.process_index = process_index

    mesh = tiny.mesh(1, 2, 2)
    monkeypatch.setattr("jax.process_count", lambda: 2)
    spanning = SimpleNamespace(devices=np.array([[[Far(0), Far(1)], [Far(0), Far(1)]]]), shape=mesh.shape)
    with pytest.raises(ValueError, match="mesh.tensor = 2 spans processes"):
        own_mesh(spanning)


def test_seconds_of_the_device_add_up_to_the_time_from_its_first_program_to_its_last():
    made = traced()
    collect(made, Again())
    seconds, _, spans = made.meter.take()
    on_device = [span for span in spans if span.track == "device"]
    assert {span.name for span in on_device} >= {"prefill", "decode"}
    assert all(after.start == before.end for before, after in zip(on_device, on_device[1:], strict=False))
    device = sum(seconds.get(name, 0.0) for name in ("prefill", "decode", "device_wait"))
    assert device == pytest.approx(on_device[-1].end - on_device[0].start)
    assert seconds["verify"] > 0 and seconds["hint"] > 0 and seconds["verdict_wait"] >= 0


def test_spans_are_kept_only_on_request():
    made = engine()
    collect(made, Again())
    assert not made.meter.take()[2]


def test_the_timeline_is_trace_event_json_with_a_line_for_each_slot(tmp_path):
    made = traced()
    groups = collect(made, Again())
    _, _, spans = made.meter.take()
    write_timeline(tmp_path / "timeline" / "000002.json", spans)
    events = json.loads((tmp_path / "timeline" / "000002.json").read_text())["traceEvents"]
    lines = {e["args"]["name"]: e["tid"] for e in events if e["name"] == "thread_name"}
    assert list(lines)[:3] == ["device", "host", "verifier"] and sum(name.startswith("slot") for name in lines) == 8
    shown = [e for e in events if e["ph"] == "X"]
    assert min(e["ts"] for e in shown) == 0 and all(e["dur"] >= 0 for e in shown)
    on_slots = [e for e in shown if e["tid"] >= 3]
    assert sum(e["args"]["tokens"] for e in on_slots) == sum(len(text.split()) for text in drawn(groups).values())
    for tid in {e["tid"] for e in on_slots}:
        own = sorted((e["ts"], e["ts"] + e["dur"]) for e in on_slots if e["tid"] == tid)
        assert all(end <= start + 1 for (_, end), (start, _) in zip(own, own[1:], strict=False))  # microseconds
