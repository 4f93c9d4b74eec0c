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
    Group,
    Kind,
    Lesson,
    Origin,
    Problem,
    Prompt,
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
    rollouts = [r for group in groups for part in _rounds(group) for r in part]
    document = json.dumps([_document(group) for group in groups]).encode()
    arrays = {name: _joined([getattr(r.response, name) for r in rollouts], dtype) for name, dtype in ARRAYS.items()}
    lengths = np.array([len(r.response) for r in rollouts], np.int64)
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


def _joined(rows: Sequence[Sequence], dtype: type) -> np.ndarray:
    return np.concatenate([np.asarray(row, dtype) for row in rows]) if rows else np.zeros(0, dtype)


def _document(group: Group) -> dict[str, Any]:
    """Everything but the arrays; a member is told by its round and its place there."""
    places = {id(r): (n, i) for n, rollouts in enumerate(_rounds(group)) for i, r in enumerate(rollouts)}
    return {
        "problem": asdict(group.problem),
        "prompt": asdict(group.prompt),
        "step": group.step,
        "index": group.index,
        "initial": [_rollout_document(r) for r in group.initial],
        "attempts": [
            {"retry": asdict(attempt.retry), "rollouts": [_rollout_document(r) for r in attempt.rollouts]}
            for attempt in group.attempts
        ],
        "members": [places[id(member)] for member in group.members],
        "advantages": group.advantages,
        "entropy_scale": group.entropy_scale,
        "lessons": [asdict(lesson) for lesson in group.lessons],
        "decisions": group.decisions,
        "seen": group.seen,
    }


def _rollout_document(rollout: Rollout) -> dict[str, Any]:
    return {
        "origin": rollout.origin,
        "round": rollout.round,
        "index": rollout.index,
        "truncated": rollout.response.truncated,
        "text": rollout.text,
        "verdict": rollout.verdict and asdict(rollout.verdict),
        "trained_on": rollout.trained_on,
        "kinds": [(span.n, span.kind) for span in rollout.kinds],
    }


def _group(document: dict[str, Any], rows: Iterator[dict[str, np.ndarray]]) -> Group:
    prompt = _prompt(document["prompt"])
    initial = tuple(_rollout(found, prompt, next(rows)) for found in document["initial"])
    attempts = tuple(_attempt(found, rows) for found in document["attempts"])
    drawn = [initial, *(attempt.rollouts for attempt in attempts)]
    return Group(
        problem=Problem(**document["problem"]),
        prompt=prompt,
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


def _attempt(document: dict[str, Any], rows: Iterator[dict[str, np.ndarray]]) -> Attempt:
    found = document["retry"]
    retry = Retry(
        prompt=_prompt(found["prompt"]),
        n=found["n"],
        origin=Origin(found["origin"]),
        mode=found["mode"] and FailureMode(found["mode"]),
        answers=tuple(found["answers"]),
        given=tuple(map(tuple, found["given"])),
    )
    return Attempt(retry, tuple(_rollout(each, retry.prompt, next(rows)) for each in document["rollouts"]))


def _rollout(document: dict[str, Any], prompt: Prompt, arrays: dict[str, np.ndarray]) -> Rollout:
    verdict = document["verdict"] and Verdict(
        **{**document["verdict"], "status": Status(document["verdict"]["status"])}
    )
    return Rollout(
        prompt=prompt,
        origin=Origin(document["origin"]),
        round=document["round"],
        index=document["index"],
        response=Response(**arrays, truncated=document["truncated"]),
        text=document["text"],
        verdict=verdict,
        trained_on=Context(document["trained_on"]),
        kinds=tuple(Span(n, Kind(kind)) for n, kind in document["kinds"]),
    )


def _advantage(document: Any) -> Advantage | None:
    return tuple(map(tuple, document)) if isinstance(document, list) else document


def _lesson(document: dict[str, Any]) -> Lesson:
    return Lesson(**{**document, "prompt": _prompt(document["prompt"]), "tokens": tuple(document["tokens"])})


def _prompt(document: dict[str, Any]) -> Prompt:
    return Prompt(document["text"], tuple(document["ids"]))
