"""The update: micro-batches add their gradients in float32, then one AdamW step, all jitted and donated over a mesh.

Two programs: `accumulate`, compiled once per micro-batch shape, and `apply`. Every weight of a token was divided by one
global count before either runs (boundary.pack), so any split into micro-batches gives the same sum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import optax

from lte_jax.config import LossConfig, ModelConfig, OptimConfig
from lte_jax.device import loss, mesh, regularisers, tally, weights
from lte_jax.device.arrays import Microbatch, TrainState
from lte_jax.device.policy import policy_logp
from lte_jax.device.seen import see
from lte_jax.device.weights import Architecture

MEMORY = {"device": "device", "host": "pinned_host"}


@dataclass(frozen=True)
class UpdateSpec:
    """What is static under jit: everything that shapes the program."""

    arch: Architecture
    model: ModelConfig
    loss: LossConfig
    optim: OptimConfig
    n_updates: int  # of the whole run; the schedules that fall need it
    mesh: jax.sharding.Mesh


@lru_cache
def optimiser(config: OptimConfig, n_updates: int) -> optax.GradientTransformation:
    """Global-norm clip, then AdamW (arXiv 1711.05101) under the configured schedule."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            learning_rate(config, n_updates),
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
        ),
    )


def learning_rate(config: OptimConfig, n_updates: int) -> optax.Schedule:
    """Linear rise over warmup_updates, then constant, or cosine or linear down to final_lr_frac at the last update."""
    left = max(1, n_updates - config.warmup_updates - 1)
    after = {
        "constant": optax.constant_schedule(config.lr),
        "cosine": optax.cosine_decay_schedule(config.lr, left, alpha=config.final_lr_frac),
        "linear": optax.linear_schedule(config.lr, config.lr * config.final_lr_frac, left),
    }[config.schedule]
    if not config.warmup_updates:
        return after
    first = config.lr / config.warmup_updates  # not 0: no batch is wasted
    rise = optax.linear_schedule(first, config.lr, max(1, config.warmup_updates - 1))
    return optax.join_schedules([rise, after], [config.warmup_updates])


def state_shardings(spec: UpdateSpec) -> TrainState:
    """Optimiser moments are split like their parameters (left to itself, jit would replicate them), and lie in the
    memory that `optim.moments` says; counters everywhere."""
    params, whole = mesh.param_shardings(spec.arch, spec.mesh), mesh.replicated(spec.mesh)
    return TrainState(params, _opt_shardings(spec, MEMORY[spec.optim.moments]), whole, whole, whole)


def _opt_shardings(spec: UpdateSpec, memory: str):
    params = mesh.param_shardings(spec.arch, spec.mesh)
    tx, whole = optimiser(spec.optim, spec.n_updates), mesh.replicated(spec.mesh)
    moments = jax.eval_shape(tx.init, mesh.abstract_params(spec.arch, spec.mesh))
    return optax.tree_utils.tree_map_params(
        tx, lambda _, s: s.with_memory_kind(memory), moments, params, transform_non_params=lambda _: whole
    )


def abstract_state(spec: UpdateSpec) -> TrainState:
    """Shapes, types and shardings of the state, for restoring it."""
    make = partial(_new_state, optimiser(spec.optim, spec.n_updates))
    state = jax.eval_shape(make, mesh.abstract_params(spec.arch, spec.mesh))
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, state_shardings(spec))


def abstract_microbatch(n_rows: int, n_columns: int, spec: UpdateSpec) -> Microbatch:
    """Shapes, types and shardings of a micro-batch, for compiling without one."""
    types = {"tokens_BT": jnp.int32, "kind_BT": jnp.int8}
    rows = mesh.batch_sharding(spec.mesh)
    names = [name for name in Microbatch._fields if name != "targets"]
    shapes = {name: (n_rows, n_columns) if name.endswith("_BT") else (n_rows,) for name in names}
    micro = Microbatch(
        **{n: jax.ShapeDtypeStruct(s, types.get(n, jnp.float32), sharding=rows) for n, s in shapes.items()}
    )
    if not regularisers.has_targets(spec.loss):
        return micro
    weights_, one = mesh.abstract_params(spec.arch, spec.mesh), jax.ShapeDtypeStruct((), jnp.float32)
    targets = jax.eval_shape(partial(old_targets, spec=spec), weights_, micro, one)
    return micro._replace(
        targets=jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=rows), targets)
    )


def initial_state(spec: UpdateSpec, params: dict) -> TrainState:
    """A fresh optimiser around float32 weights, everything placed as `state_shardings` says. Donates the weights."""
    make = partial(_new_state, optimiser(spec.optim, spec.n_updates))
    params = jax.device_put(params, mesh.param_shardings(spec.arch, spec.mesh))
    return jax.jit(make, out_shardings=state_shardings(spec), donate_argnums=0)(params)


def _new_state(tx, params) -> TrainState:
    return TrainState(params, tx.init(params), *(jnp.zeros((), jnp.int32) for _ in range(3)))


@partial(jax.jit, static_argnames="spec")
def reference_weights(params: dict, spec: UpdateSpec) -> dict:
    """A copy of float32 weights to take a KL to: matrices in the compute type, everything sharded like the masters."""
    dtype = spec.model.compute_dtype  # what every product would round a matrix to
    copied = weights.tree(
        spec.arch, lambda path, row: jnp.array(weights.leaf(params, path), dtype if row.fan_in else jnp.float32)
    )
    return jax.lax.with_sharding_constraint(copied, mesh.param_shardings(spec.arch, spec.mesh))


def score(params: dict, reference: dict | None, batch: list[Microbatch], temperature, spec: UpdateSpec):
    """The micro-batches with what is fixed before a step's first update: the trainer's own log-probs as the
    denominators of on-policy rows, the reference's, and the regularisers' targets, each where the loss asks for it.
    Hinted rows keep the sampler's: recomputed on the plain prompt, r' would be 1."""
    if spec.loss.old_logp == "trainer":
        batch = [m._replace(old_logp_BT=old_logp(params, m, temperature, spec)) for m in batch]
    if spec.loss.kl != "none":
        batch = [m._replace(reference_logp_BT=trained_logp(reference, m, temperature, spec)) for m in batch]
    if regularisers.has_targets(spec.loss):
        batch = [m._replace(targets=old_targets(params, m, temperature, spec)) for m in batch]
    return batch


@partial(jax.jit, static_argnames="spec")
def old_targets(params: dict, micro: Microbatch, temperature, spec: UpdateSpec):
    """What the regularisers take of the policy before the step's first update, by regulariser and name."""
    found = regularisers.targets(see(params, None, micro, temperature, spec), spec.loss)
    return jax.lax.with_sharding_constraint(found, mesh.batch_sharding(spec.mesh))


@partial(jax.jit, static_argnames="spec")
def trained_logp(params: dict, micro: Microbatch, temperature, spec: UpdateSpec):
    """logp_BT of trained tokens, 0 elsewhere."""
    logp_BT, _ = policy_logp(params, micro.tokens_BT, temperature, spec)
    return jnp.where(micro.trained_BT, logp_BT, 0.0)


@partial(jax.jit, static_argnames="spec")
def old_logp(params: dict, micro: Microbatch, temperature, spec: UpdateSpec):
    """The trainer's logp_BT on on-policy tokens, the sampler's on the others."""
    logp_BT = trained_logp(params, micro, temperature, spec)
    return jnp.where(micro.on_policy_BT, logp_BT, micro.behaviour_logp_BT)


def _objective(params: dict, micro: Microbatch, temperature, entropy_weight, spec: UpdateSpec, scalars: dict):
    """The minimised sum of one micro-batch, and its tally."""
    logp_BT, entropy_BT = policy_logp(params, micro.tokens_BT, temperature, spec)
    objective_BT, own = loss.mixed_objective(logp_BT, entropy_BT, micro, spec.loss)
    penalty = loss.kl_penalty(logp_BT, micro, spec.loss).sum()
    bonus = entropy_weight * jnp.where(micro.drawn_BT, entropy_BT, 0.0).sum()
    if spec.loss.regularisers:
        added_BT, more = loss.regularisation(logp_BT, entropy_BT, micro, scalars, spec.loss)
        penalty, own = penalty + added_BT.sum(), own | more
    shown = jax.lax.stop_gradient((logp_BT, entropy_BT, objective_BT, own))
    return penalty - objective_BT.sum() - bonus, tally.tally(*shown, micro, spec.loss)


@partial(jax.jit, static_argnames="spec")
def zero_sums(spec: UpdateSpec):
    """(gradients, tally) of no micro-batch."""
    zeros = weights.tree(spec.arch, lambda path, row: jnp.zeros(row.shape(spec.arch), jnp.float32))
    zeros = jax.lax.with_sharding_constraint(zeros, mesh.param_shardings(spec.arch, spec.mesh))
    return zeros, tally.empty(spec.loss)


@partial(jax.jit, static_argnames="spec", donate_argnames="sums")
def accumulate(params: dict, sums, micro: Microbatch, temperature, entropy_weight, spec: UpdateSpec, scalars=None):
    """Adds one micro-batch's gradients and tally to `sums`. `entropy_weight`: c / Z; `scalars`: of the regularisers,
    None where none of them reads any."""
    gradients, shown = jax.grad(_objective, has_aux=True)(
        params, micro, temperature, entropy_weight, spec, scalars or {}
    )
    gradients = jax.lax.with_sharding_constraint(gradients, mesh.param_shardings(spec.arch, spec.mesh))
    return jax.tree.map(jnp.add, sums[0], gradients), tally.joined(sums[1], shown, spec.loss)


@partial(jax.jit, static_argnames="spec", donate_argnames="state")
def apply(state: TrainState, gradients: dict, spec: UpdateSpec):
    """(state after one optimiser step, gradient norm). A non-finite gradient changes nothing but the counters."""
    tx = optimiser(spec.optim, spec.n_updates)
    norm = optax.tree.norm(gradients)
    ok = jnp.isfinite(norm)
    state = state._replace(opt_state=jax.device_put(state.opt_state, _opt_shardings(spec, "device")))
    updates, opt_state = tx.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    kept = jax.tree.map(lambda new, old: jnp.where(ok, new, old), (params, opt_state), (state.params, state.opt_state))
    after = TrainState(
        *kept, state.n_updates + ok, state.n_nonfinite + ~ok, jnp.where(ok, 0, state.n_nonfinite_in_row + 1)
    )
    return jax.device_put(after, state_shardings(spec)), norm


def update(
    state: TrainState,
    batch: list[Microbatch],
    temperature,
    entropy_weight,
    spec: UpdateSpec,
    scalars=None,
    before_microbatch: Callable[[], None] | None = None,
):
    """(state, tally, gradient norm) after one optimiser step over the micro-batches of one update. What
    `before_microbatch` raises abandons it: up to there the state is as it was."""
    sums = zero_sums(spec)
    for micro in batch:
        if before_microbatch:
            before_microbatch()
        sums = accumulate(state.params, sums, micro, temperature, entropy_weight, spec, scalars)
    gradients, shown = sums
    state, norm = apply(state, gradients, spec)
    return state, shown, norm
