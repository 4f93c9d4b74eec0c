"""The engine: problems in, finished groups out. Slots are refilled as rows finish; strategies ask for further rounds.

Each distinct prompt is prefilled once and its cache copied into the slots of its rollouts. What is drawn for a request
depends on its key alone: not on its slot, its neighbours or the order of refills.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import jax
import numpy as np
from jax.sharding import Mesh

from lte_jax.boundary import fetch, pad_rows, round_up, size_bucket
from lte_jax.config import EngineConfig, ModelConfig
from lte_jax.device import sampler
from lte_jax.device.mesh import n_batch_shards
from lte_jax.device.weights import Architecture
from lte_jax.records import Attempt, Group, Origin, Problem, Prompt, Rollout, Verdict

# Streams of random keys that never meet.
TRAIN, EVALUATE, GENERATE = 0, 1, 2

Grade = Callable[[Sequence[tuple[str, str, bool]]], list[Verdict]]  # (gold, response, truncated) -> verdicts


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. `response_budget`: tokens, stop token included."""

    temperature: float
    top_p: float
    top_k: int
    response_budget: int


@dataclass(frozen=True)
class Request:
    """One response to draw. `key`: seed, stream, step, group, round, index."""

    prompt: Prompt
    key: tuple[int, int, int, int, int, int]


@dataclass(frozen=True, eq=False)
class Response:
    """What was drawn for a request: one entry per response token, the stop token included."""

    tokens: np.ndarray
    behaviour_logp: np.ndarray
    sampled_logp: np.ndarray
    truncated: bool


@dataclass
class Meter:
    """What sampling cost since the last `take`."""

    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str):
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def count(self, name: str, n: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + n

    def take(self) -> tuple[dict[str, float], dict[str, int]]:
        taken = self.seconds, self.counts
        self.seconds, self.counts = {}, {}
        return taken


class Engine:
    """Draws responses with one model on one mesh. `max_prompt`: longest prompt that will be asked for, tokens."""

    def __init__(self, arch: Architecture, model: ModelConfig, config: EngineConfig, mesh: Mesh, stop_ids, max_prompt):
        self.spec = sampler.SamplerSpec(arch, model.compute_dtype, model.attention, mesh)
        self.config, self.max_prompt = config, max_prompt
        self.stop_ids = np.array(sorted(stop_ids), np.int32)
        self.shards = n_batch_shards(mesh)
        self.meter = Meter()
        self.weights: dict | None = None

    def load(self, params: dict) -> None:
        """Makes the sampler's copy of float32 weights; `unload` gives it back."""
        self.weights = sampler.sampler_weights(params, self.spec)

    def unload(self) -> None:
        self.weights = None

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Response]]:
        """Yields (index of the request, response) as they finish. Raises ValueError for a prompt that is too long."""
        for request in requests:
            if len(request.prompt.ids) > self.max_prompt:
                raise ValueError(f"a prompt has {len(request.prompt.ids)} tokens, the budget is {self.max_prompt}")
        if self.weights is None:
            raise RuntimeError("Engine.generate before Engine.load: there are no weights to sample from")
        run = _Run(self, requests, sampling)
        while run.queue or run.live:
            run.refill()
            yield from run.decode()

    def collect(
        self, problems: Sequence[tuple[Problem, Prompt]], round_: "Round", strategy, memory: dict
    ) -> list[Group]:
        """The groups of one step, in problem order: sampled, verified, retried as the strategy asks, and mixed."""
        first = [_Ask(index, *pair, round_.group_size, Origin.PLAIN, 0) for index, pair in enumerate(problems)]
        groups = [
            Group(ask.problem, ask.prompt, round_.step, ask.group, initial=drawn, members=drawn)
            for ask, drawn in zip(first, self._draw(first, round_), strict=True)
        ]
        while True:
            with self.meter.phase("hint"):
                retries = [(group, retry) for group in groups if (retry := strategy.retry(group, memory))]
            if not retries:
                return groups
            asks = [_Ask(g.index, g.problem, r.prompt, r.n, r.origin, len(g.attempts) + 1) for g, r in retries]
            for (group, retry), drawn in zip(retries, self._draw(asks, round_), strict=True):
                groups[group.index] = strategy.merge(group, Attempt(retry, drawn))

    def _draw(self, asks: "Sequence[_Ask]", round_: "Round") -> list[tuple[Rollout, ...]]:
        """Graded rollouts, as many for each ask as it wants."""
        owners = [(ask, index) for ask in asks for index in range(ask.n)]
        keys = [(round_.seed, TRAIN, round_.step, ask.group, ask.round, index) for ask, index in owners]
        requests = [Request(ask.prompt, key) for (ask, _), key in zip(owners, keys, strict=True)]
        responses: dict[int, Response] = {}
        for place, response in self.generate(requests, round_.sampling):
            responses[place] = response
            round_.progress(len(responses), len(requests))
        with self.meter.phase("verify"):
            rollouts = [
                round_.judge.rollout(responses[place], ask.prompt, ask.origin, ask.round, index)
                for place, (ask, index) in enumerate(owners)
            ]
            remaining = iter(round_.judge.grade([ask.problem.answer for ask, _ in owners], rollouts))
        return [tuple(next(remaining) for _ in range(ask.n)) for ask in asks]


@dataclass(frozen=True)
class Round:
    """How one step samples: settings, the judge of its responses, and the keys' seed and step."""

    sampling: Sampling
    group_size: int
    judge: "Judge"
    seed: int
    step: int
    progress: Callable[[int, int], None] = lambda n_done, n_total: None  # responses of the round


@dataclass(frozen=True)
class _Ask:
    """One group's share of a round: `n` rollouts from a prompt."""

    group: int
    problem: Problem
    prompt: Prompt
    n: int
    origin: Origin
    round: int


@dataclass(frozen=True)
class Judge:
    """Turns responses into graded rollouts: a tokenizer's `decode` and a verifier's `grade_many`."""

    decode: Callable[[Sequence[int]], str]
    verify: Grade

    def rollout(self, response: Response, prompt: Prompt, origin: Origin, round_: int, index: int) -> Rollout:
        return Rollout(
            prompt=prompt,
            origin=origin,
            round=round_,
            index=index,
            tokens=response.tokens,
            behaviour_logp=response.behaviour_logp,
            sampled_logp=response.sampled_logp,
            truncated=response.truncated,
            text=self.decode(response.tokens.tolist()),
        )

    def grade(self, golds: Sequence[str], rollouts: Sequence[Rollout]) -> list[Rollout]:
        """The rollouts with their verdicts, each against its own reference answer."""
        items = [(gold, rollout.text, rollout.truncated) for gold, rollout in zip(golds, rollouts, strict=True)]
        return [replace(r, verdict=verdict) for r, verdict in zip(rollouts, self.verify(items), strict=True)]


class _Run:
    """One call of `generate`: the queue, the slots and what each live row has drawn so far."""

    def __init__(self, engine: Engine, requests: Sequence[Request], sampling: Sampling):
        self.engine, self.requests, self.sampling = engine, requests, sampling
        config, shards = engine.config, engine.shards
        self.n_slots = shards * size_bucket(-(-len(requests) // shards), max(1, config.slots // shards))
        longest = engine.max_prompt + sampling.response_budget
        self.n_columns = round_up(longest, config.length_bucket)
        self.queue = deque(range(len(requests)))
        self.waiting = Counter(request.prompt.ids for request in requests)  # prompt -> requests not yet started
        self.live: dict[int, int] = {}  # slot -> request
        self.drawn: dict[int, list] = {}  # request -> its chunks
        self.n_drawn: dict[int, int] = {}
        self.prefixes: dict[tuple[int, ...], tuple] = {}  # prompt ids -> (prefilled rows, row), while still needed
        self.state = sampler.empty_slots(self.n_slots, self.n_columns, engine.spec)

    def refill(self) -> None:
        """Prefills the prompts that come next and starts their requests in the free slots."""
        free = [slot for slot in range(self.n_slots) if slot not in self.live]
        if not free or not self.queue:
            return
        with self.engine.meter.phase("prefill"):
            taken = [self.queue.popleft() for _ in range(min(len(free), len(self.queue)))]
            self._prefill([self.requests[r].prompt.ids for r in taken])
            by_prefix: dict[int, list[tuple[int, int]]] = {}
            for slot, request in zip(free, taken, strict=False):
                prefix, _ = self.prefixes[self.requests[request].prompt.ids]
                by_prefix.setdefault(id(prefix), []).append((slot, request))
                self.live[slot], self.drawn[request], self.n_drawn[request] = request, [], 0
            for started in by_prefix.values():
                self._insert(started)
            self.waiting.subtract(self.requests[r].prompt.ids for r in taken)
            self.prefixes = {ids: where for ids, where in self.prefixes.items() if self.waiting[ids]}

    def _prefill(self, prompts: list[tuple[int, ...]]) -> None:
        config = self.engine.config
        new = [ids for ids in dict.fromkeys(prompts) if ids not in self.prefixes]
        most = round_up(config.prefill_rows, self.engine.shards)
        for start in range(0, len(new), most):
            batch = new[start : start + most]
            n_columns = round_up(max(map(len, batch)), config.length_bucket)
            n_rows = round_up(size_bucket(len(batch), config.prefill_rows), self.engine.shards)
            tokens_PT = pad_rows(batch, n_rows, n_columns)
            rows = sampler.prefill(self.engine.weights, tokens_PT, self.engine.spec)
            self.prefixes |= {ids: (rows, row) for row, ids in enumerate(batch)}
            self.engine.meter.count("prefill_tokens", sum(map(len, batch)))

    def _insert(self, started: list[tuple[int, int]]) -> None:
        """Starts (slot, request) pairs that share one batch of prefilled rows; padded so that one program serves."""
        prompts = [self.requests[request].prompt.ids for _, request in started]
        padding = self.n_slots - len(started)

        def column(values, fill=0):
            return np.array([*values, *[fill] * padding], np.int32)

        keys = np.zeros((self.n_slots, sampler.N_KEY_PARTS), np.uint32)
        keys[: len(started)] = [self.requests[request].key for _, request in started]
        self.state = sampler.insert(
            self.state,
            self.prefixes[prompts[0]][0],
            column([slot for slot, _ in started], fill=self.n_slots),
            column([self.prefixes[ids][1] for ids in prompts]),
            column([ids[-1] for ids in prompts]),
            column([len(ids) - 1 for ids in prompts]),
            column([self.sampling.response_budget] * len(started)),
            keys,
            self.engine.spec,
        )

    def decode(self) -> Iterator[tuple[int, Response]]:
        """One chunk; yields what finished in it."""
        config, sampling = self.engine.config, self.sampling
        with self.engine.meter.phase("decode"):
            furthest = max(len(self.requests[r].prompt.ids) + self.n_drawn[r] for r in self.live.values())
            read = self._read_columns(furthest + config.chunk)
            # With a queue, a chunk ends once an eighth of the slots can be refilled.
            stop_below = max(0, len(self.live) - max(1, self.n_slots // 8)) if self.queue else 0
            self.state, drawn = sampler.decode_chunk(
                self.engine.weights,
                self.state,
                self.engine.stop_ids,
                np.int32(stop_below),
                np.float32(sampling.temperature),
                np.float32(sampling.top_p),
                np.int32(sampling.top_k),
                config.chunk,
                read,
                self.engine.spec,
            )
            drawn = fetch(drawn)
        self.engine.meter.count("decode_steps", int(drawn.n_steps))
        self.engine.meter.count("slot_steps", int(drawn.n_steps) * self.n_slots)
        self.engine.meter.count("tokens", int(drawn.n_B.sum()))
        yield from self._harvest(drawn)

    def _read_columns(self, n: int) -> int:
        """How much of the cache to read for n live columns: about two sizes an octave, so few programs."""
        coarse = max(self.engine.config.length_bucket, 1 << max(0, n.bit_length() - 2))
        return min(self.n_columns, round_up(n, coarse))

    def _harvest(self, drawn) -> Iterator[tuple[int, Response]]:
        for slot, request in list(self.live.items()):
            n = int(drawn.n_B[slot])
            arrays = (drawn.token_BC, drawn.behaviour_logp_BC, drawn.sampled_logp_BC)
            self.drawn[request].append([array[slot, :n] for array in arrays])
            self.n_drawn[request] += n
            if drawn.active_B[slot]:
                continue
            del self.live[slot], self.n_drawn[request]
            tokens, behaviour_logp, sampled_logp = map(np.concatenate, zip(*self.drawn.pop(request), strict=True))
            yield request, Response(tokens, behaviour_logp, sampled_logp, int(tokens[-1]) not in self.engine.stop_ids)


def device_kind() -> str:
    """What the run computes on, for its records: platform, kind and count."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].platform} {devices[0].device_kind}"
