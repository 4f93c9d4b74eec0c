"""The engine: problems in, finished groups out, with no barrier between rounds.

A group whose verdicts are in asks its strategy at once; what it asks for queues behind the first round and takes slots
that stragglers leave empty. What is drawn for a request depends on its key alone: not on slot, neighbour or clock.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import jax
import numpy as np
from jax.sharding import Mesh

from lte_jax.config import EngineConfig, ModelConfig
from lte_jax.device import sampler
from lte_jax.device.mesh import n_batch_shards, own_mesh, own_view, sampler_shardings
from lte_jax.device.weights import Architecture
from lte_jax.engine.meter import DeviceClock, Meter
from lte_jax.engine.slots import Cut, SamplingContext, Slots
from lte_jax.records import (
    Attempt,
    Group,
    Origin,
    Plan,
    Problem,
    Prompt,
    Request,
    Response,
    Retry,
    Rollout,
    Sampling,
    Verdict,
)

# Streams of random keys that never meet.
TRAIN, EVALUATE, GENERATE = 0, 1, 2

NumberedPlans = Mapping[int, Plan]  # by the group's number in its step
Grade = Callable[[Sequence[tuple[Problem, str, bool]]], list[Verdict]]  # (problem, response, truncated) -> verdicts


@dataclass(frozen=True)
class Grader:
    """Turns responses into graded rollouts: a tokenizer's `decode` and a verifier's `grade_problems`."""

    decode: Callable[[Sequence[int]], str]
    verify: Grade

    def rollout(self, response: Response, prompt: Prompt, origin: Origin, round_: int, index: int) -> Rollout:
        return Rollout(
            prompt=prompt,
            origin=origin,
            round=round_,
            index=index,
            response=response,
            text=self.decode(response.tokens.tolist()),
        )

    def grade(self, problems: Sequence[Problem], rollouts: Sequence[Rollout]) -> list[Rollout]:
        """The rollouts with their verdicts, each for its own problem."""
        items = [(problem, r.text, r.response.truncated) for problem, r in zip(problems, rollouts, strict=True)]
        return [replace(r, verdict=verdict) for r, verdict in zip(rollouts, self.verify(items), strict=True)]


@dataclass(frozen=True)
class Round:
    """How one step samples: settings, the grader of its responses, and the keys' seed and step."""

    sampling: Sampling
    grader: Grader
    seed: int
    step: int
    progress: Callable[[int, int], None] = lambda n_done, n_total: None  # responses asked for so far
    decided: Callable[[Group], Mapping] = lambda group: {}  # what its strategy has decided for a finished group


class Engine:
    """Draws responses with one model. `max_prompt`: longest prompt that will be asked for, tokens. `cut`: as of
    SamplingContext.

    Of several processes, each draws on its own devices of the mesh, without lockstep; only `load` is called by all.
    """

    def __init__(
        self,
        arch: Architecture,
        model: ModelConfig,
        config: EngineConfig,
        mesh: Mesh,
        stop_ids: Sequence[int],
        max_prompt: int,
        cut: Cut | None = None,
    ):
        self.mesh, self.cut = mesh, cut
        self.spec = sampler.SamplerSpec(arch, model.compute_dtype, model.attention, own_mesh(mesh))
        self.config, self.max_prompt = config, max_prompt
        self.stop_ids = np.array(sorted(stop_ids), np.int32)
        self.meter = Meter()
        self.between_chunks: Callable[[], None] = lambda: None  # what it raises abandons the sampling
        self.weights: dict | None = None

    def load(self, params: dict) -> None:
        """Makes the sampler's copy of float32 weights, and waits for it; `unload` gives it back."""
        with self.meter.phase("weights"):
            copy = sampler.sampler_weights(params, replace(self.spec, mesh=self.mesh))
            if self.spec.mesh is not self.mesh:
                copy = own_view(copy, sampler_shardings(self.spec.arch, self.spec.mesh))
            self.weights = jax.block_until_ready(copy)

    def unload(self) -> None:
        self.weights = None

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Response]]:
        """Yields (index of the request, response) as they finish. Raises ValueError for a prompt that is too long."""
        with self._slots(sampling, may_grow=False) as slots:
            slots.add(requests)
            while slots.busy:
                self.between_chunks()
                yield from slots.turn()

    def collect(self, plans: NumberedPlans, round_: Round, strategy, memory: dict) -> list[Group]:
        """The groups of one step, in the plans' order: sampled, verified, retried as the strategy asks, and mixed."""
        with self._slots(round_.sampling, may_grow=True) as slots:
            collection = _Collection(slots, round_, strategy, memory, self.config, self.meter)
            return collection.run(plans, self.between_chunks)

    @contextmanager
    def _slots(self, sampling: Sampling, may_grow: bool) -> Iterator[Slots]:
        if self.weights is None:
            raise RuntimeError("the engine samples before Engine.load: there are no weights to sample from")
        shards = n_batch_shards(self.spec.mesh)
        made = SamplingContext(self.weights, self.spec, self.config, self.stop_ids, shards, self.max_prompt, self.cut)
        with DeviceClock(self.meter) as clock:
            yield Slots(made, sampling, may_grow, clock, self.meter)


@dataclass
class _PendingBatch:
    """One group's share of a round: `n` rollouts from a prompt, and those that have their verdicts."""

    group: int
    problem: Problem
    prompt: Prompt
    n: int
    origin: Origin
    round: int
    retry: Retry | None = None  # None: the first round
    seen: str = ""  # of the problem, by earlier steps
    n_drawn: int = 0  # of those that are drawn
    graded: dict[int, Rollout] = field(default_factory=dict)  # by index

    @property
    def given(self) -> tuple[tuple[int, ...], ...]:
        """The rollouts' tokens, where they are there already."""
        return self.retry.given if self.retry else ()


@dataclass(frozen=True)
class _Verdicts:
    """Rollouts of one harvest on their way through the verifier."""

    turn: int
    owners: list[tuple[_PendingBatch, int]]
    rollouts: Future


class _Collection:
    """One step on its way from problems to groups."""

    def __init__(self, slots: Slots, round_: Round, strategy, memory: dict, config: EngineConfig, meter: Meter):
        self._slots, self._round, self._strategy, self._memory = slots, round_, strategy, memory
        self._config, self._meter = config, meter
        self._owners: list[tuple[_PendingBatch, int]] = []  # by ticket: whose rollout, and which of its
        self._grader = ThreadPoolExecutor(1, "verdicts")
        self._pending: deque[_Verdicts] = deque()
        self._groups: dict[int, Group] = {}
        self._n_open = 0  # asks that lack a verdict
        self._n_awaited = 0  # of these, drawn ones that lack nothing else, and may soon bring another

    def run(self, plans: NumberedPlans, between_chunks: Callable[[], None]) -> list[Group]:
        for index, plan in plans.items():
            self._ask(_PendingBatch(index, plan.problem, plan.prompt, plan.n, Origin.PLAIN, 0, seen=plan.seen))
        n_done = 0
        try:
            while self._n_open:
                between_chunks()
                finished = self._slots.turn(expect_more_soon=self._n_awaited > 0) if self._slots.busy else []
                n_done += len(finished)
                if finished:
                    self._round.progress(n_done, self._slots.n_requests)
                    owners = [self._owners[ticket] for ticket, _ in finished]
                    for ask, _ in owners:
                        ask.n_drawn += 1
                        self._n_awaited += ask.n_drawn == ask.n
                    self._submit(owners, [response for _, response in finished])
                self._read_verdicts()
        finally:
            self._grader.shutdown(wait=False, cancel_futures=True)
        return [self._finished(self._groups[index]) for index in plans]

    def _finished(self, group: Group) -> Group:
        return replace(group, decisions=self._round.decided(group))

    def _ask(self, ask: _PendingBatch) -> None:
        self._n_open += 1
        if ask.given:
            self._submit([(ask, index) for index in range(ask.n)], [_given(tokens) for tokens in ask.given])
            return
        keys = [(self._round.seed, TRAIN, self._round.step, ask.group, ask.round, index) for index in range(ask.n)]
        self._slots.add(Request(ask.prompt, key) for key in keys)
        self._owners += [(ask, index) for index in range(ask.n)]

    def _submit(self, owners: list[tuple[_PendingBatch, int]], responses: Sequence[Response]) -> None:
        self._pending.append(
            _Verdicts(self._slots.n_turns, owners, self._grader.submit(self._grade, owners, responses))
        )

    def _grade(self, owners: Sequence[tuple[_PendingBatch, int]], responses: Sequence[Response]) -> list[Rollout]:
        """Runs in a thread of its own, while the device decodes."""
        grader = self._round.grader
        with self._meter.phase("verify", track="verifier"):
            rollouts = [
                grader.rollout(response, ask.prompt, ask.origin, ask.round, index)
                for (ask, index), response in zip(owners, responses, strict=True)
            ]
            return grader.grade([ask.problem for ask, _ in owners], rollouts)

    def _read_verdicts(self) -> None:
        """Takes the verdicts that are due, in the order of their harvests, waiting for them if need be."""
        while self._pending and self._is_due(self._pending[0]):
            verdicts = self._pending.popleft()
            with self._meter.phase("verdict_wait"):
                rollouts = verdicts.rollouts.result()
            for (ask, index), rollout in zip(verdicts.owners, rollouts, strict=True):
                ask.graded[index] = rollout
                if len(ask.graded) == ask.n:
                    self._complete(ask)

    def _is_due(self, verdicts: _Verdicts) -> bool:
        """After `verdict_lag` more harvests, or where the device has nothing left to do."""
        if not self._slots.busy:
            return True
        if self._config.verdict_lag == "free":
            return verdicts.rollouts.done()
        return verdicts.turn + self._config.verdict_lag <= self._slots.n_turns

    def _complete(self, ask: _PendingBatch) -> None:
        """Makes or mixes the group, and asks for what its strategy wants next."""
        self._n_open -= 1
        self._n_awaited -= not ask.given
        drawn = tuple(ask.graded[index] for index in range(ask.n))
        with self._meter.phase("hint"):
            if ask.retry is None:
                step = self._round.step
                group = Group(ask.problem, ask.prompt, step, ask.group, initial=drawn, members=drawn, seen=ask.seen)
            else:
                group = self._strategy.merge(self._groups[ask.group], Attempt(ask.retry, drawn))
            self._groups[ask.group] = group
            retry = self._strategy.retry(group, self._memory)
        if retry is not None:
            n_round = len(group.attempts) + 1
            self._ask(_PendingBatch(ask.group, ask.problem, retry.prompt, retry.n, retry.origin, n_round, retry))


def _given(tokens: Sequence[int]) -> Response:
    """A response that no policy of ours drew: its tokens have probability 1, as LUFFY takes them (arXiv 2504.14945)."""
    certain = np.zeros(len(tokens), np.float32)
    return Response(np.array(tokens, np.int32), certain, certain, truncated=False)


def device_kind() -> str:
    """What the run computes on, for its records: platform, kind and count."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].platform} {devices[0].device_kind}"
