"""What sampling and updates cost: seconds and counts by name, and a timeline where one is asked for.

Device work is asynchronous, so a thread waits for each piece in turn: its seconds are the device's, not the host's.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Span:
    """Something that took time. Seconds since an arbitrary start; `track` is the line it is drawn on."""

    track: str
    name: str
    start: float
    end: float
    about: dict[str, Any]


class Meter:
    """Sums since the last `take`. `spans` stays empty unless `tracing`."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.spans: list[Span] = []
        self.tracing = False

    @contextmanager
    def phase(self, name: str, track: str = "host") -> Iterator[None]:
        """Measures its block as host time."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, start, time.perf_counter(), track)

    def add(self, name: str, start: float, end: float, track: str, **about: Any) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + end - start
        self.span(track, name, start, end, **about)

    def span(self, track: str, name: str, start: float, end: float, **about: Any) -> None:
        """For the timeline alone."""
        if self.tracing:
            self.spans.append(Span(track, name, start, end, about))

    def count(self, name: str, n: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + n

    def take(self) -> tuple[dict[str, float], dict[str, int], list[Span]]:
        """Everything since the last call, which starts afresh."""
        taken = self.seconds, self.counts, self.spans
        self.seconds, self.counts, self.spans = {}, {}, []
        return taken


class DeviceClock:
    """Waits for dispatched arrays in order, in a thread of its own, and books the seconds that each kept the device.

    `device_wait` is the time in which everything dispatched was done and nothing new had come.
    """

    def __init__(self, meter: Meter):
        self._meter = meter
        self._thread = ThreadPoolExecutor(1, "device-clock")
        self._free_since: float | None = None

    def __enter__(self) -> "DeviceClock":
        return self

    def __exit__(self, *_) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def watch(self, name: str, dispatched: float, array, **about: Any) -> Future:
        """`dispatched`: time.perf_counter() before the call that made `array`, which no later call may consume."""
        return self._thread.submit(self._wait, name, dispatched, array, about)

    def _wait(self, name: str, dispatched: float, array, about: dict[str, Any]) -> None:
        array.block_until_ready()
        end = time.perf_counter()
        free = dispatched if self._free_since is None else self._free_since
        if free < dispatched:
            self._meter.add("device_wait", free, dispatched, "device")
        self._meter.add(name, max(free, dispatched), end, "device", **about)
        self._free_since = end
