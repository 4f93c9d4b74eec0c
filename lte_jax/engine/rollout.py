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
from lte_jax.engine.slots import Cut, SamplingContext, Slots, given_arrays
from lte_jax.records import (
    Attempt,
    Group,
    Origin,
    Part,
    Plan,
    Problem,
    Purpose,
    Request,
    Response,
    Retry,
    Rollout,
    Sampling,
    Span,
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

    def rollout(self, response: Response, part: Part, origin: Origin, round_: int, index: int) -> Rollout:
        """Text of all tokens together: what is given may end inside a character."""
        text = self.decode(response.tokens.tolist())
        made = Rollout(part.prompt, origin, round_, index, response, text)
        if part.given is None:
            return made
        n_given = len(part.given)
        drawn = [Span(len(response) - n_given, made.drawn_kind)] if part.is_drawn else []
        return replace(made, n_given=n_given, kinds=(*part.given.kinds, *drawn))

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
    between_chunks: Callable[[], None] = lambda: None  # what it raises abandons the sampling
    decided: Callable[[Group], Mapping] = lambda group: {}  # what its strategy has decided for a finished group
    # a round's rollouts with other verdicts than the verifier's; the group as it stands before
    label: Callable[[Group, tuple[Rollout, ...]], tuple[Rollout, ...]] = lambda group, rollouts: rollouts


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

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, between_chunks: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[int, Response]]:
        """Yields (index of the request, response) as they finish. Raises ValueError for a prompt that is too long, and
        whatever `between_chunks` raises."""
        with self._slots(sampling, may_grow=False) as slots:
            slots.add(requests)
            while slots.busy:
                between_chunks()
                yield from slots.turn()

    def collect(self, plans: NumberedPlans, round_: Round, strategy, memory: dict) -> list[Group]:
        """The groups of one step, in the plans' order: sampled, verified, retried as the strategy asks, and mixed."""
        with self._slots(round_.sampling, may_grow=True) as slots:
            collection = _Collection(slots, round_, strategy, memory, self.config, self.meter)
            return collection.run(plans)

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
    """One group's share of a round: what was asked for, and the rollouts that have their verdicts."""

    group: int
    plan: Plan
    parts: tuple[Part, ...]
    round: int
    retry: Retry | None = None  # None: the first round
    n_drawn: int = 0  # of those that are drawn
    graded: dict[int, Rollout] = field(default_factory=dict)  # by index
    part_of: list[Part] = field(init=False)  # by index
    n_to_draw: int = field(init=False)

    def __post_init__(self):
        self.part_of = [part for part in self.parts for _ in range(part.n)]
        self.n_to_draw = sum(part.is_drawn for part in self.part_of)
        if not (self.n_to_draw or (self.retry and self.part_of)):
            wanted = "wanted one" if self.retry else "wanted one that is drawn"
            raise ValueError(f"group {self.group}, round {self.round}: its strategy asks for no response, {wanted}")

    @property
    def is_note(self) -> bool:
        return self.retry is not None and self.retry.purpose is Purpose.NOTE

    def origin(self, part: Part) -> Origin:
        if self.retry:
            return self.retry.origin
        return Origin.PLAIN if part.prompt == self.plan.prompt else Origin.HINTED


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

    def run(self, plans: NumberedPlans) -> list[Group]:
        for index, plan in plans.items():
            parts = self._strategy.first(plan, self._memory)
            self._ask(_PendingBatch(index, plan, parts, round=0))
        n_done = 0
        try:
            while self._n_open:
                self._round.between_chunks()
                finished = self._slots.turn(expect_more_soon=self._n_awaited > 0) if self._slots.busy else []
                n_done += len(finished)
                if finished:
                    self._round.progress(n_done, self._slots.n_requests)
                    owners = [self._owners[ticket] for ticket, _ in finished]
                    for ask, _ in owners:
                        ask.n_drawn += 1
                        self._n_awaited += ask.n_drawn == ask.n_to_draw
                    self._submit(owners, [response for _, response in finished])
                self._read_verdicts()
        finally:
            self._grader.shutdown(wait=False, cancel_futures=True)
        return [self._finished(self._groups[index]) for index in plans]

    def _finished(self, group: Group) -> Group:
        return replace(group, decisions=self._round.decided(group))

    def _ask(self, ask: _PendingBatch) -> None:
        """Queues what is to be drawn; what is given whole goes to the verifier at once."""
        self._n_open += 1
        key = self._round.seed, TRAIN, self._round.step, ask.group, ask.round
        drawn = [index for index, part in enumerate(ask.part_of) if part.is_drawn]
        self._check_declared([ask.part_of[index] for index in drawn], ask.plan)
        self._slots.add(Request(ask.part_of[index].prompt, (*key, index), ask.part_of[index].given) for index in drawn)
        self._owners += [(ask, index) for index in drawn]
        whole = [(index, part.given) for index, part in enumerate(ask.part_of) if not part.is_drawn]
        if whole:
            responses = [Response(*given_arrays(given), truncated=False) for _, given in whole]
            self._submit([(ask, index) for index, _ in whole], responses)

    def _check_declared(self, drawn: Sequence[Part], plan: Plan) -> None:
        """Refuses what the strategy says that it never asks for: what follows from it was left out before."""
        name = type(self._strategy).__name__
        if not self._strategy.forks and any(part.given for part in drawn):
            raise ValueError(
                f"{name} continues given tokens, but its `forks` is False: wanted True, so that prefills of this length "
                "are planned and compiled ahead"
            )
        if not self._strategy.hints and any(part.prompt != plan.prompt for part in drawn):
            raise ValueError(
                f"{name} draws from another prompt than the group's, but its `hints` is False: wanted True, so that "
                "prompt.hinted_budget is compared with the model's positions"
            )

    def _submit(self, owners: list[tuple[_PendingBatch, int]], responses: Sequence[Response]) -> None:
        self._pending.append(
            _Verdicts(self._slots.n_turns, owners, self._grader.submit(self._grade, owners, responses))
        )

    def _grade(self, owners: Sequence[tuple[_PendingBatch, int]], responses: Sequence[Response]) -> list[Rollout]:
        """Runs in a thread of its own, while the device decodes. Notes are read, not graded."""
        grader = self._round.grader
        with self._meter.phase("verify", track="verifier"):
            rollouts = [
                grader.rollout(response, part, ask.origin(part), ask.round, index)
                for (ask, index), response in zip(owners, responses, strict=True)
                for part in [ask.part_of[index]]
            ]
            places = [place for place, (ask, _) in enumerate(owners) if not ask.is_note]
            problems = [owners[place][0].plan.problem for place in places]
            graded = grader.grade(problems, [rollouts[place] for place in places]) if places else []
        for place, rollout in zip(places, graded, strict=True):
            rollouts[place] = rollout
        return rollouts

    def _read_verdicts(self) -> None:
        """Takes the verdicts that are due, in the order of their harvests, waiting for them if need be."""
        while self._pending and self._is_due(self._pending[0]):
            verdicts = self._pending.popleft()
            with self._meter.phase("verdict_wait"):
                rollouts = verdicts.rollouts.result()
            for (ask, index), rollout in zip(verdicts.owners, rollouts, strict=True):
                ask.graded[index] = rollout
                if len(ask.graded) == len(ask.part_of):
                    self._complete(ask)

    def _is_due(self, verdicts: _Verdicts) -> bool:
        """After `verdict_lag` more harvests, or where the device has nothing left to do."""
        if not self._slots.busy:
            return True
        if self._config.verdict_lag == "free":
            return verdicts.rollouts.done()
        return verdicts.turn + self._config.verdict_lag <= self._slots.n_turns

    def _complete(self, ask: _PendingBatch) -> None:
        """Makes or mixes the group, and asks for what its strategy wants next. A note changes nothing in the group."""
        self._n_open -= 1
        self._n_awaited -= ask.n_to_draw > 0
        drawn = tuple(ask.graded[index] for index in range(len(ask.part_of)))
        with self._meter.phase("hint"):
            if ask.retry is None:
                group = self._first(ask, drawn)
            elif ask.is_note:
                before = self._groups[ask.group]
                group = replace(before, attempts=(*before.attempts, Attempt(ask.retry, drawn)))
            else:
                before = self._groups[ask.group]
                group = self._strategy.merge(before, Attempt(ask.retry, self._round.label(before, drawn)))
            self._groups[ask.group] = group
            retry = self._strategy.retry(group, self._memory)
        if retry is not None:
            self._ask(_PendingBatch(ask.group, ask.plan, retry.parts, len(group.attempts) + 1, retry))

    def _first(self, ask: _PendingBatch, drawn: tuple[Rollout, ...]) -> Group:
        plan, step = ask.plan, self._round.step
        group = Group(plan.problem, plan.prompt, step, ask.group, initial=drawn, members=drawn, seen=plan.seen)
        labelled = self._round.label(group, drawn)
        return replace(group, initial=labelled, members=labelled)


def device_kind() -> str:
    """What the run computes on, for its records: platform, kind and count."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].platform} {devices[0].device_kind}"
