"""The rollouts of a report: every rescue if the file has room for it, then a keyed sample of the other groups.

The key is a hash of run, step and group: the same runs give the same sample, and a larger file holds the smaller one.
"""

import hashlib
import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from lte_jax.report.page.embed import n_bytes, script_json
from lte_jax.report.page.source import Run
from lte_jax.storage.run_files import read_rollouts

WHOLE = 6000  # characters of a response that are shown whole; of a longer one, HEAD and TAIL
HEAD, TAIL = 2000, 3600
ABOUT = (  # if there
    *("prompt", "extracted", "correct", "member", "truncated", "tokens", "given", "status", "verified", "reward"),
)


@dataclass(frozen=True)
class Sample:
    """`groups`: JSON of each, by run and step. Counts are of groups."""

    groups: tuple[str, ...]
    n_kept: int
    n_total: int
    n_rescues_kept: int
    n_rescues: int


Rank = tuple[bool, bytes]  # a rescue goes before others, then the key decides: the larger rank stays


@dataclass(order=True)
class _Kept:
    """Orders a heap by what goes first where there is no room."""

    rank: Rank
    place: tuple[int, int, int] = field(compare=False)
    text: str = field(compare=False)
    size: int = field(compare=False)


def sample(runs: Sequence[Run], budget: int) -> Sample:
    """As many groups as fit into `budget` bytes, in the order of the module's first line."""
    kept: list[_Kept] = []
    dropped: Rank = (False, b"")  # the largest rank for which there was no room: nothing below it comes in
    size = n_total = n_rescues = 0
    for place, run in enumerate(runs):
        for row in read_rollouts(run.folder):
            rank = _rank(row, run.name)
            n_total, n_rescues = n_total + 1, n_rescues + rank[0]
            if rank < dropped:
                continue
            text = script_json(shown(row, place))
            made = _Kept(rank, (place, row["step"], row["group"]), text, n_bytes(text) + 1)  # a comma follows each
            heapq.heappush(kept, made)
            size += made.size
            while size > budget:
                gone = heapq.heappop(kept)
                size, dropped = size - gone.size, max(dropped, gone.rank)
    ordered = sorted(kept, key=lambda group: group.place)
    n_rescues_kept = sum(group.rank[0] for group in kept)
    return Sample(tuple(group.text for group in ordered), len(kept), n_total, n_rescues_kept, n_rescues)


def _rank(row: dict, run: str) -> Rank:
    digest = hashlib.sha256(f"{run}/{row['step']}/{row['group']}".encode()).digest()
    return row["outcome"] == "rescued", digest


def shown(row: dict, run: int) -> dict:
    """A line of rollouts/ as the page has it: long responses cut in the middle."""
    return {
        "run": run,
        "step": row["step"] + 1,
        "file": f"{row['step']:06d}.jsonl",
        "id": row["id"],
        "problem": row["problem"],
        "answer": row["answer"],
        "prompt": row["prompt"],
        "outcome": row["outcome"],
        "mode": row["mode"],
        "rollouts": [_shown_rollout(rollout) for rollout in row["rollouts"]],
        "attempts": [
            {key: attempt[key] for key in ("purpose", "origin", "mode", "listed", "prompt") if key in attempt}
            | {"rollouts": [_shown_rollout(rollout) for rollout in attempt["rollouts"]]}
            for attempt in row["attempts"]
        ],
    }


def _shown_rollout(rollout: dict) -> dict:
    return {**{key: rollout[key] for key in ABOUT if key in rollout}, "response": _cut(rollout["response"])}


def _cut(text: str) -> str:
    if len(text) <= WHOLE:
        return text
    return f"{text[:HEAD]}\n[… {len(text) - HEAD - TAIL:,} characters left out here …]\n{text[-TAIL:]}"
