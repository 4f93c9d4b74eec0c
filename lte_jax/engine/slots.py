"""The slots of one call of the engine: requests wait, are prefilled, decoded in chunks and harvested as they finish.

One chunk is always ahead: while the device runs it, the host harvests the one before and refills what that one freed.
What is laid out where follows from the tokens alone, never from the clock. Slots and cache columns come in few sizes;
rows move to fewer slots when few are left, and to more columns as they grow.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from lte_jax.config import EngineConfig
from lte_jax.device import sampler
from lte_jax.device.arrays import Drawing, Drawn, SamplerState, Starts
from lte_jax.engine.boundary import fetch, pad_rows
from lte_jax.engine.meter import DeviceClock, Meter
from lte_jax.engine.shapes import SamplerShapes, smallest
from lte_jax.records import Annealing, Given, Request, Response, Sampling

KEY_ROUND = 4  # place of the round in a request's key
Cut = Callable[[Sequence[int], int], int | None]  # (response, how many tokens were looked at before) -> tokens kept


@dataclass(frozen=True)
class SamplingContext:
    """What an engine samples with: weights on the device, what stops a response, sizes."""

    weights: dict
    spec: sampler.SamplerSpec
    config: EngineConfig
    stop_ids: np.ndarray
    shards: int  # devices over which rows are split
    max_prompt: int  # tokens
    cut: Cut | None = None  # finds text that ends a response; None: only stop tokens do

    @cached_property
    def stops(self) -> frozenset[int]:
        return frozenset(self.stop_ids.tolist())


@dataclass
class _Live:
    """A request in a slot."""

    ticket: int
    request: Request
    slot: int | None  # None once it has finished
    since: float  # when it came to the slot
    chunks: list = field(default_factory=list)  # what each chunk drew: tokens, behaviour_logp, sampled_logp
    n_drawn: int = 0
    n_before: int = 0  # tokens drawn before it came to the slot

    @property
    def n_response(self) -> int:
        """Tokens that are there, given and drawn."""
        return self.request.n_given + self.n_drawn


@dataclass(frozen=True)
class _Chunk:
    """A chunk in flight, and what was in which slot when it was launched."""

    drawn: Drawn
    rows: dict[int, _Live]
    n_slots: int
    is_tail: bool  # nothing waited for a slot


class Slots:
    """`add` requests at any time; call `turn` while `busy`. `may_grow`: more may be added when some have finished."""

    def __init__(self, context: SamplingContext, sampling: Sampling, may_grow: bool, clock: DeviceClock, meter: Meter):
        self._context, self._sampling, self._may_grow = context, sampling, may_grow
        self._drawing = drawing(sampling)
        self._shapes = SamplerShapes(context.config, context.shards, context.max_prompt, sampling.response_budget)
        self._clock, self._meter = clock, meter
        self._requests: list[Request] = []
        self._waiting: deque[int] = deque()  # tickets, in the order of arrival
        self._prompts_waiting: Counter[tuple[int, ...]] = Counter()
        self._prefixes: dict[tuple[int, ...], tuple[list, int]] = {}  # prompt -> (prefilled rows, its row)
        self._live: dict[int, _Live] = {}  # slot -> request
        self._flight: deque[_Chunk] = deque()
        self._state: SamplerState | None = None
        self.n_turns = 0  # chunks harvested

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._live or self._flight)

    @property
    def n_requests(self) -> int:
        return len(self._requests)

    def add(self, requests: Iterable[Request]) -> range:
        """Queues requests; returns their tickets. Raises ValueError for a prompt that is too long, and for given tokens
        that leave nothing to draw."""
        requests, first = list(requests), len(self._requests)
        for request in requests:
            self._check(request)
        self._requests += requests
        tickets = range(first, len(self._requests))
        self._waiting.extend(tickets)
        self._prompts_waiting.update(request.ids for request in requests)
        return tickets

    def _check(self, request: Request) -> None:
        n, most, budget = len(request.prompt.ids), self._context.max_prompt, self._sampling.response_budget
        if n > most:
            raise ValueError(f"a prompt has {n} tokens, the budget is {most}")
        if request.n_given >= budget:
            raise ValueError(
                f"a response begins with {request.n_given} given tokens, the budget is {budget}: wanted room for one "
                "that is drawn"
            )
        if request.given and not self._context.stops.isdisjoint(request.given.tokens):
            raise ValueError(
                "a response is to go on behind a token that stops it: wanted given tokens without one, or `whole`"
            )

    def turn(self, expect_more_soon: bool = False) -> list[tuple[int, Response]]:
        """Refills, launches a chunk and harvests the one before: (ticket, response) of what finished, by slot.

        `expect_more_soon`: requests may be added after this turn or the next, so where slots are free the chunk is a
        short one.
        """
        begun = time.perf_counter()
        self._resize()
        self._refill()
        if self._live:
            self._launch(begun, expect_more_soon)
        if len(self._flight) > 1 or not self._live:
            return self._harvest(self._flight.popleft())
        return []

    def _resize(self) -> None:
        """Moves the rows to as many slots and columns as are wanted now, where these are other than the present."""
        if not self._waiting and not self._live:
            return
        wanted = self._n_slots(len(self._live) + len(self._waiting)), self._n_columns()
        if self._state is None:
            self._state = sampler.empty_slots(*wanted, self._context.spec)
        n_slots, n_columns = self._shape()
        if wanted[0] == n_slots and wanted[1] <= n_columns:
            return
        source_M = np.full(wanted[0], n_slots, np.int32)
        source_M[: len(self._live)] = list(self._live)
        self._state = sampler.resize(self._state, source_M, wanted[1], self._context.spec)
        now = time.perf_counter()
        for row in self._live.values():
            self._leave(row, now)
        self._live = dict(enumerate(self._live.values()))
        for slot, row in self._live.items():
            row.slot = slot

    def _shape(self) -> tuple[int, int]:
        n_slots, _, n_columns, _ = self._state.cache[0].k_BKSH.shape
        return n_slots, n_columns

    def _n_slots(self, n_rows: int) -> int:
        sizes = self._shapes.slots
        return smallest(sizes, min(n_rows, sizes[-1]))

    def _n_columns(self) -> int:
        """Columns that no row passes in the next chunk: those in flight may each have drawn a whole chunk."""
        config, budget = self._context.config, self._sampling.response_budget
        ahead = (len(self._flight) + 1) * config.chunk
        furthest = [len(row.request.prompt.ids) + min(budget, row.n_response + ahead) for row in self._live.values()]
        n_free = self._n_slots(len(self._live) + len(self._waiting)) - len(self._live)
        coming = [self._requests[ticket] for ticket, _ in zip(self._waiting, range(n_free), strict=False)]
        furthest += [len(each.prompt.ids) + min(budget, each.n_given + config.chunk) for each in coming]
        return smallest(self._shapes.columns, max(furthest))

    def _refill(self) -> None:
        """Prefills what comes next, prompts with what is given, and starts their requests in the free slots."""
        n_slots = self._shape()[0] if self._state else 0
        free = [slot for slot in range(n_slots) if slot not in self._live]
        taken = [self._waiting.popleft() for _ in range(min(len(free), len(self._waiting)))]
        if not taken:
            return
        self._prefill([self._requests[ticket].ids for ticket in taken])
        now, by_prefix = time.perf_counter(), {}
        for slot, ticket in zip(free, taken, strict=False):
            row = _Live(ticket, self._requests[ticket], slot, now)
            prefix, source = self._prefixes[row.request.ids]
            by_prefix.setdefault(id(prefix), (prefix, []))[1].append((slot, source, row))
            self._live[slot] = row
        for prefix, started in by_prefix.values():
            self._state = sampler.insert(self._state, prefix, self._starts(n_slots, started), self._context.spec)
        self._prompts_waiting.subtract(self._requests[ticket].ids for ticket in taken)
        self._prefixes = {ids: where for ids, where in self._prefixes.items() if self._prompts_waiting[ids]}

    def _prefill(self, prompts: Sequence[tuple[int, ...]]) -> None:
        """Each distinct one once, with others of its length bucket."""
        by_length: dict[int, list] = {}
        for ids in dict.fromkeys(prompts):
            if ids not in self._prefixes:
                columns = self._shapes.prompt_columns(forks=len(ids) > self._context.max_prompt)
                by_length.setdefault(smallest(columns, len(ids)), []).append(ids)
        per_batch = self._shapes.prompts[-1]
        for n_columns, new in by_length.items():
            for start in range(0, len(new), per_batch):
                batch = new[start : start + per_batch]
                n_rows = smallest(self._shapes.prompts, len(batch))
                dispatched = time.perf_counter()
                rows = sampler.prefill(self._context.weights, pad_rows(batch, n_rows, n_columns), self._context.spec)
                self._clock.watch("prefill", dispatched, rows[0].k_BKSH, prompts=len(batch))
                self._prefixes |= {ids: (rows, row) for row, ids in enumerate(batch)}
                self._meter.count("prefill_tokens", sum(map(len, batch)))

    def _starts(self, n_slots: int, started: Sequence[tuple[int, int, _Live]]) -> Starts:
        """Padded to the number of slots, so that one program serves."""
        slots, sources, rows = zip(*started, strict=True)
        prompts = [row.request.ids for row in rows]

        def column(values, fill=0):
            return np.array([*values, *[fill] * (n_slots - len(started))], np.int32)

        keys = np.zeros((n_slots, sampler.N_KEY_PARTS), np.uint32)
        keys[: len(started)] = [row.request.key for row in rows]
        return Starts(
            slot_M=column(slots, fill=n_slots),
            source_M=column(sources),
            token_M=column([ids[-1] for ids in prompts]),
            position_M=column([len(ids) - 1 for ids in prompts]),
            n_response_M=column([row.request.n_given for row in rows]),
            budget_M=column([self._sampling.response_budget] * len(started)),
            key_parts_M6=keys,
        )

    def _launch(self, dispatched: float, expect_more_soon: bool) -> None:
        context, n_slots = self._context, self._shape()[0]
        self._state, drawn = sampler.decode_chunk(
            context.weights,
            self._state,
            context.stop_ids,
            np.int32(self._stop_free(n_slots, expect_more_soon)),
            np.int32(context.config.overlap),
            self._drawing,
            context.config.chunk,
            context.spec,
        )
        self._clock.watch("decode", dispatched, drawn.n_steps, slots=n_slots, rows=len(self._live))
        self._flight.append(_Chunk(drawn, dict(self._live), n_slots, not self._waiting))

    def _stop_free(self, n_slots: int, expect_more_soon: bool) -> int:
        """How many free slots end the chunk: as many as are worth refilling, or as let the rows move to fewer slots."""
        if self._waiting:
            return max(1, n_slots // 16)
        if expect_more_soon:
            return 0
        n_live, fewer = len(self._live), self._n_slots(n_slots // 2)
        to_shrink = n_slots - fewer if fewer < n_slots else n_slots
        to_ask = n_slots - n_live + max(1, n_live // 8) if self._may_grow else n_slots
        return min(to_shrink, to_ask)

    def _harvest(self, chunk: _Chunk) -> list[tuple[int, Response]]:
        drawn = fetch(chunk.drawn)
        self.n_turns += 1
        self._count(chunk, drawn)
        finished, ended = [], []
        for slot, row in chunk.rows.items():
            n = int(drawn.n_B[slot])
            if row.slot is None:  # it finished in the chunk before, which had not been harvested at this one's launch
                self._meter.count("cut_tokens", n)
                continue
            row.chunks.append([a[slot, :n] for a in (drawn.token_BC, drawn.behaviour_logp_BC, drawn.sampled_logp_BC)])
            row.n_drawn += n
            n_kept = self._context.cut(_joined(row)[0], row.n_response - n) if self._context.cut else None
            if drawn.active_B[slot] and n_kept is None:
                continue
            if drawn.active_B[slot]:
                ended.append(row.slot)
            del self._live[row.slot]
            self._leave(row, time.perf_counter())
            finished.append((row.ticket, self._response(row, n_kept)))
        if ended:
            slot_M = np.full(self._shape()[0], self._shape()[0], np.int32)
            slot_M[: len(ended)] = ended
            self._state = sampler.end_rows(self._state, slot_M, self._context.spec)
        return finished

    def _response(self, row: _Live, n_kept: int | None) -> Response:
        """What was given and drawn, up to `n_kept` where text has ended it; what was drawn behind is thrown away and
        counted."""
        tokens, behaviour_logp, sampled_logp = (values[:n_kept] for values in _joined(row))
        self._meter.count("cut_tokens", row.n_response - len(tokens))
        truncated = n_kept is None and int(tokens[-1]) not in self._context.stop_ids
        return Response(tokens, behaviour_logp, sampled_logp, truncated)

    def _leave(self, row: _Live, now: float) -> None:
        """The row gives up its slot; the timeline shows how long it had it."""
        *_, group, round_, index = row.request.key
        name = f"group {group} round {round_} #{index}"
        self._meter.span(f"slot {row.slot}", name, row.since, now, tokens=row.n_drawn - row.n_before)
        row.slot, row.since, row.n_before = None, now, row.n_drawn

    def _count(self, chunk: _Chunk, drawn: Drawn) -> None:
        n_steps = int(drawn.n_steps)
        later = [slot for slot, row in chunk.rows.items() if row.request.key[KEY_ROUND] > 0]
        self._meter.count("decode_steps", n_steps)
        self._meter.count("slot_steps", n_steps * chunk.n_slots)
        self._meter.count("tokens", int(drawn.n_B.sum()))
        if chunk.is_tail:
            self._meter.count("tail_slot_steps", n_steps * chunk.n_slots)
        if later and len(later) < len(chunk.rows):
            self._meter.count("shadow_tokens", int(drawn.n_B[later].sum()))


def drawing(sampling: Sampling) -> Drawing:
    """The settings as the device takes them; without annealing a schedule that stays at the temperature."""
    constant = Annealing(sampling.temperature, sampling.temperature, decay=np.inf, after=0)
    schedule = sampling.annealing or constant
    floats = (sampling.temperature, schedule.high, schedule.low, schedule.decay, schedule.after, sampling.top_p)
    return Drawing(*map(np.float32, floats), np.int32(sampling.top_k))


def _joined(row: _Live) -> list[np.ndarray]:
    """Tokens, behaviour_logp and sampled_logp of what was given and of all chunks so far."""
    given = [given_arrays(row.request.given)] if row.request.given else []
    return [np.concatenate(parts) for parts in zip(*given, *row.chunks, strict=True)]


def given_arrays(given: Given) -> list[np.ndarray]:
    """Tokens, behaviour_logp and sampled_logp, as a chunk has them."""
    columns = (given.tokens, np.int32), (given.behaviour_logp, np.float32), (given.sampled_logp, np.float32)
    return [np.array(values, dtype) for values, dtype in columns]
