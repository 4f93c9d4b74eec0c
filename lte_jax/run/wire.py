"""Groups as bytes and back, for other processes of a run: one JSON document and the rows' arrays, never pickle."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lte_jax.records import (
    Advantage,
    Attempt,
    Context,
    FailureMode,
    Given,
    Group,
    Kind,
    Lesson,
    Origin,
    Part,
    Problem,
    Prompt,
    Purpose,
    Response,
    Retry,
    Rollout,
    Span,
    Status,
    Verdict,
)

ARRAYS = {"tokens": np.int32, "behaviour_logp": np.float32, "sampled_logp": np.float32}


def encode_groups(groups: Sequence[Group]) -> bytes:
    """The groups with everything in them."""
    rows = [row for group in groups for row in _rows(group)]
    document = json.dumps([_document(group) for group in groups]).encode()
    arrays = {name: _joined([getattr(row, name) for row in rows], dtype) for name, dtype in ARRAYS.items()}
    lengths = np.array([len(row) for row in rows], np.int64)
    out = io.BytesIO()
    np.savez(out, document=np.frombuffer(document, np.uint8), lengths=lengths, **arrays)
    return out.getvalue()


def decode_groups(payload: bytes) -> list[Group]:
    """What `encode_groups` was given."""
    stored = np.load(io.BytesIO(payload), allow_pickle=False)
    ends = np.cumsum(stored["lengths"])[:-1]
    columns = [np.split(stored[name], ends) for name in ARRAYS]
    rows = (dict(zip(ARRAYS, row, strict=True)) for row in zip(*columns, strict=True))
    return [_group(document, rows) for document in json.loads(stored["document"].tobytes())]


def _rounds(group: Group) -> list[tuple[Rollout, ...]]:
    """The first round, then each attempt's."""
    return [group.initial, *(attempt.rollouts for attempt in group.attempts)]


def _rows(group: Group) -> Iterator[Response | Given]:
    """Whatever has arrays, in the order in which they are read again: of a further round, first what is given."""
    yield from (rollout.response for rollout in group.initial)
    for attempt in group.attempts:
        yield from (part.given for part in attempt.retry.parts if part.given is not None)
        yield from (rollout.response for rollout in attempt.rollouts)


def _joined(rows: Sequence[Sequence], dtype: type) -> np.ndarray:
    return np.concatenate([np.asarray(row, dtype) for row in rows]) if rows else np.zeros(0, dtype)


def _document(group: Group) -> dict[str, Any]:
    """Everything but the arrays; a member is told by its round and its place there, a prompt by its place among all."""
    asked = [part.prompt for attempt in group.attempts for part in attempt.retry.parts]
    drawn_from = [rollout.prompt for rollouts in _rounds(group) for rollout in rollouts]
    prompts = {prompt: place for place, prompt in enumerate(dict.fromkeys([group.prompt, *asked, *drawn_from]))}
    places = {id(r): (n, i) for n, rollouts in enumerate(_rounds(group)) for i, r in enumerate(rollouts)}
    return {
        "problem": asdict(group.problem),
        "prompts": list(map(asdict, prompts)),
        "step": group.step,
        "index": group.index,
        "initial": [_rollout_document(r, prompts) for r in group.initial],
        "attempts": [_attempt_document(attempt, prompts) for attempt in group.attempts],
        "members": [places[id(member)] for member in group.members],
        "advantages": group.advantages,
        "entropy_scale": group.entropy_scale,
        "lessons": [asdict(lesson) for lesson in group.lessons],
        "decisions": group.decisions,
        "seen": group.seen,
    }


def _attempt_document(attempt: Attempt, prompts: dict[Prompt, int]) -> dict[str, Any]:
    retry = attempt.retry
    return {
        "parts": [_part_document(part, prompts) for part in retry.parts],
        "origin": retry.origin,
        "mode": retry.mode,
        "answers": retry.answers,
        "purpose": retry.purpose,
        "rollouts": [_rollout_document(r, prompts) for r in attempt.rollouts],
    }


def _part_document(part: Part, prompts: dict[Prompt, int]) -> dict[str, Any]:
    given = part.given
    about = None if given is None else {"kinds": _spans_document(given.kinds), "whole": given.whole}
    return {"prompt": prompts[part.prompt], "n": part.n, "given": about}


def _rollout_document(rollout: Rollout, prompts: dict[Prompt, int]) -> dict[str, Any]:
    return {
        "prompt": prompts[rollout.prompt],
        "origin": rollout.origin,
        "round": rollout.round,
        "index": rollout.index,
        "truncated": rollout.response.truncated,
        "text": rollout.text,
        "verdict": rollout.verdict and asdict(rollout.verdict),
        "verified": rollout.verified and asdict(rollout.verified),
        "trained_on": rollout.trained_on,
        "kinds": _spans_document(rollout.kinds),
        "n_given": rollout.n_given,
    }


def _spans_document(spans: Sequence[Span]) -> list[tuple[int, Kind]]:
    return [(span.n, span.kind) for span in spans]


def _group(document: dict[str, Any], rows: Iterator[dict[str, np.ndarray]]) -> Group:
    prompts = list(map(_prompt, document["prompts"]))
    initial = tuple(_rollout(found, prompts, next(rows)) for found in document["initial"])
    attempts = tuple(_attempt(found, prompts, rows) for found in document["attempts"])
    drawn = [initial, *(attempt.rollouts for attempt in attempts)]
    return Group(
        problem=Problem(**document["problem"]),
        prompt=prompts[0],
        step=document["step"],
        index=document["index"],
        initial=initial,
        members=tuple(drawn[n][place] for n, place in document["members"]),
        attempts=attempts,
        advantages=tuple(_advantage(found) for found in document["advantages"]),
        entropy_scale=document["entropy_scale"],
        lessons=tuple(map(_lesson, document["lessons"])),
        decisions=document["decisions"],
        seen=document["seen"],
    )


def _attempt(document: dict[str, Any], prompts: Sequence[Prompt], rows: Iterator[dict[str, np.ndarray]]) -> Attempt:
    parts = tuple(
        Part(prompts[found["prompt"]], found["n"], found["given"] and _given(found["given"], next(rows)))
        for found in document["parts"]
    )
    retry = Retry(
        parts=parts,
        origin=Origin(document["origin"]),
        mode=document["mode"] and FailureMode(document["mode"]),
        answers=tuple(document["answers"]),
        purpose=Purpose(document["purpose"]),
    )
    return Attempt(retry, tuple(_rollout(each, prompts, next(rows)) for each in document["rollouts"]))


def _given(document: dict[str, Any], arrays: dict[str, np.ndarray]) -> Given:
    columns = {name: tuple(values.tolist()) for name, values in arrays.items()}
    return Given(**columns, kinds=_spans(document["kinds"]), whole=document["whole"])


def _rollout(document: dict[str, Any], prompts: Sequence[Prompt], arrays: dict[str, np.ndarray]) -> Rollout:
    return Rollout(
        prompt=prompts[document["prompt"]],
        origin=Origin(document["origin"]),
        round=document["round"],
        index=document["index"],
        response=Response(**arrays, truncated=document["truncated"]),
        text=document["text"],
        verdict=_verdict(document["verdict"]),
        verified=_verdict(document["verified"]),
        trained_on=Context(document["trained_on"]),
        kinds=_spans(document["kinds"]),
        n_given=document["n_given"],
    )


def _verdict(document: dict[str, Any] | None) -> Verdict | None:
    return document and Verdict(**{**document, "status": Status(document["status"])})


def _spans(document: list) -> tuple[Span, ...]:
    return tuple(Span(n, Kind(kind)) for n, kind in document)


def _advantage(document: Any) -> Advantage | None:
    return tuple(map(tuple, document)) if isinstance(document, list) else document


def _lesson(document: dict[str, Any]) -> Lesson:
    return Lesson(**{**document, "prompt": _prompt(document["prompt"]), "tokens": tuple(document["tokens"])})


def _prompt(document: dict[str, Any]) -> Prompt:
    return Prompt(document["text"], tuple(document["ids"]))
