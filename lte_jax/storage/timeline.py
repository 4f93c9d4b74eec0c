"""A step's timeline as Trace Event JSON, which https://ui.perfetto.dev and chrome://tracing read: one line per slot,
one for the device, one for the host, one for the verifier.
"""

import json
from collections.abc import Sequence
from typing import Any

from etils import epath

from lte_jax.storage.paths import write_whole

FIRST = ("device", "host", "verifier")  # lines drawn above those of the slots


def write_timeline(path: epath.Path, spans: Sequence[Any]) -> None:
    """`spans`: track, name, start and end in seconds, and `about`, a dict of figures."""
    start = min(span.start for span in spans)
    tracks = sorted({span.track for span in spans}, key=_place)
    events = [
        {"ph": "M", "name": kind, "pid": 0, "tid": tid, "args": about}
        for tid, track in enumerate(tracks)
        for kind, about in (("thread_name", {"name": track}), ("thread_sort_index", {"sort_index": tid}))
    ]
    events += [
        {
            "ph": "X",
            "name": span.name,
            "pid": 0,
            "tid": tracks.index(span.track),
            "ts": round(1e6 * (span.start - start), 1),
            "dur": round(1e6 * (span.end - span.start), 1),
            "args": span.about,
        }
        for span in sorted(spans, key=lambda span: span.start)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}))


def _place(track: str) -> tuple[int, int, str]:
    if track in FIRST:
        return FIRST.index(track), 0, track
    return len(FIRST), int(track.removeprefix("slot ")), track
