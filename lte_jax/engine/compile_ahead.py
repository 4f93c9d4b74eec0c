"""Compiles, before the first step, what sampling and updates may need, so that no step waits for the compiler.

Every size in the short lists of buckets is compiled, also one that never comes; jax's persistent cache keeps them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from lte_jax.config import Config
from lte_jax.device import features, sampler, update
from lte_jax.device.arrays import TrainState
from lte_jax.device.features import FeatureSpec
from lte_jax.device.mesh import n_batch_shards
from lte_jax.device.regularisers import has_targets, scalars
from lte_jax.device.update import UpdateSpec
from lte_jax.engine.rollout import Engine
from lte_jax.engine.shapes import SamplerShapes, UpdateShapes
from lte_jax.engine.slots import drawing
from lte_jax.records import Sampling


@dataclass(frozen=True)
class Program:
    """A jitted function with the arguments of one size."""

    name: str
    lower: Callable[[], jax.stages.Lowered]


def compile_programs(programs: Sequence[Program], show: Callable[[str], None]) -> None:
    """Compiles them in order; `show` gets a line for each before it starts."""
    for n_done, program in enumerate(programs):
        show(f"{n_done + 1} of {len(programs)}: {program.name}")
        program.lower().compile()


def sampling_programs(engine: Engine, sampling: Sampling, forks: bool) -> list[Program]:
    """Prefill and decode chunks of every size; `forks`: of continued responses, too. Copying prompts into slots
    and moving rows are compiled when they come: many pairs of sizes, each a copy. The engine must hold the weights."""
    shards = n_batch_shards(engine.spec.mesh)
    shapes = SamplerShapes(engine.config, shards, engine.max_prompt, sampling.response_budget)
    prefills = [(n, columns) for n in shapes.prompts for columns in shapes.prompt_columns(forks)]
    chunks = [(n, columns) for n in shapes.slots for columns in shapes.columns]
    return [
        *(Program(f"prefill {n} x {columns}", _prefill(engine, n, columns)) for n, columns in prefills),
        *(Program(f"decode {n} x {columns}", _decode(engine, sampling, n, columns)) for n, columns in chunks),
    ]


def update_programs(config: Config, state: TrainState, spec: UpdateSpec) -> list[Program]:
    """A micro-batch of every size, and the optimiser's step."""
    one, shapes = np.float32(1), UpdateShapes.of(config, n_batch_shards(spec.mesh))

    def accumulate(n_rows: int, n_columns: int) -> Callable[[], jax.stages.Lowered]:
        micro = update.abstract_microbatch(n_rows, n_columns, spec)
        read = scalars(config.loss)
        return lambda: update.accumulate.lower(state.params, update.zero_sums(spec), micro, one, one, spec, read)

    return [
        *(Program(f"micro-batch {b} x {t}", accumulate(b, t)) for b, t in shapes.all),
        Program("optimiser step", lambda: update.apply.lower(state, update.zero_sums(spec)[0], spec)),
    ]


def scoring_programs(config: Config, state: TrainState, reference: dict | None, spec: UpdateSpec) -> list[Program]:
    """What is fixed before a step's first update, of a micro-batch of every size, where the loss asks for it."""
    asked = {
        "old log-probs": (update.old_logp, state.params, config.loss.old_logp == "trainer"),
        "reference log-probs": (update.trained_logp, reference, config.loss.kl != "none"),
        "targets": (update.old_targets, state.params, has_targets(config.loss)),
    }

    def score(function, params: dict, n_rows: int, n_columns: int) -> Callable[[], jax.stages.Lowered]:
        micro = update.abstract_microbatch(n_rows, n_columns, spec)._replace(targets={})
        return lambda: function.lower(params, micro, np.float32(1), spec)

    return [
        Program(f"{name} {b} x {t}", score(function, params, b, t))
        for name, (function, params, is_asked) in asked.items()
        if is_asked
        for b, t in UpdateShapes.of(config, n_batch_shards(spec.mesh)).all
    ]


def feature_programs(config: Config, state: TrainState, reference: dict | None, spec: FeatureSpec) -> list[Program]:
    """The measuring of a micro-batch of every size, where a credit reads any."""

    def measure(n_rows: int, n_columns: int) -> Callable[[], jax.stages.Lowered]:
        micro = update.abstract_microbatch(n_rows, n_columns, spec.policy)._replace(targets={})
        weights = state.params, reference if spec.needs_reference else None
        return lambda: features.measure.lower(*weights, micro, np.float32(1), spec)

    shapes = UpdateShapes.of(config, n_batch_shards(spec.policy.mesh))
    return [Program(f"features {b} x {t}", measure(b, t)) for b, t in shapes.all if spec.names]


def _prefill(engine: Engine, n_rows: int, n_columns: int) -> Callable[[], jax.stages.Lowered]:
    tokens_PT = np.zeros((n_rows, n_columns), np.int32)
    return lambda: sampler.prefill.lower(engine.weights, tokens_PT, engine.spec)


def _decode(engine: Engine, sampling: Sampling, n_slots: int, n_columns: int) -> Callable[[], jax.stages.Lowered]:
    def lower() -> jax.stages.Lowered:
        state = sampler.empty_slots(n_slots, n_columns, engine.spec)
        steps = np.int32(0), np.int32(0)
        return sampler.decode_chunk.lower(
            engine.weights, state, engine.stop_ids, *steps, drawing(sampling), engine.config.chunk, engine.spec
        )

    return lower
