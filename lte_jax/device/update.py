"""The update: micro-batches add their gradients in float32, then one AdamW step, all jitted and donated over a mesh.

Two programs: `accumulate`, compiled once per micro-batch shape, and `apply`. Every weight of a token was divided by one
global count before either runs (boundary.pack), so any split into micro-batches gives the same sum.
"""

from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import optax

from lte_jax.config import LossConfig, ModelConfig, OptimConfig
from lte_jax.device import loss, mesh, qwen3, weights
from lte_jax.device.arrays import MAXIMA, Microbatch, Tally, TrainState
from lte_jax.device.attention import causal_attention
from lte_jax.device.logprob import token_logp
from lte_jax.device.weights import Architecture


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
    """Optimiser moments lie like their parameters (left to itself, jit would replicate them); counters everywhere."""
    params = mesh.param_shardings(spec.arch, spec.mesh)
    tx, whole = optimiser(spec.optim, spec.n_updates), mesh.replicated(spec.mesh)
    moments = jax.eval_shape(tx.init, mesh.abstract_params(spec.arch, spec.mesh))
    opt_state = optax.tree_utils.tree_map_params(
        tx, lambda _, s: s, moments, params, transform_non_params=lambda _: whole
    )
    return TrainState(params, opt_state, whole, whole, whole)


def abstract_state(spec: UpdateSpec) -> TrainState:
    """Shapes, types and shardings of the state, for restoring it."""
    make = partial(_new_state, optimiser(spec.optim, spec.n_updates))
    state = jax.eval_shape(make, mesh.abstract_params(spec.arch, spec.mesh))
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, state_shardings(spec))


def initial_state(spec: UpdateSpec, params: dict) -> TrainState:
    """A fresh optimiser around float32 weights, everything placed as `state_shardings` says. Donates the weights."""
    make = partial(_new_state, optimiser(spec.optim, spec.n_updates))
    params = jax.device_put(params, mesh.param_shardings(spec.arch, spec.mesh))
    return jax.jit(make, out_shardings=state_shardings(spec), donate_argnums=0)(params)


def _new_state(tx, params) -> TrainState:
    return TrainState(params, tx.init(params), *(jnp.zeros((), jnp.int32) for _ in range(3)))


def policy_logp(params: dict, tokens_BT, temperature, spec: UpdateSpec):
    """(logp_BT, entropy_BT) of right-padded rows under float32 weights, at a temperature."""
    batch, table = mesh.batch_sharding(spec.mesh), mesh.lookup_sharding(spec.mesh)
    model = qwen3.bind(spec.arch, params)
    hidden_BTD = model(
        tokens_BT,
        dtype=jnp.dtype(spec.model.compute_dtype),
        attend=partial(causal_attention, impl=spec.model.attention, mesh=spec.mesh),
        scan=spec.model.scan_layers,
        remat=spec.model.remat,
        constrain=lambda x_BTD: jax.lax.with_sharding_constraint(x_BTD, batch),
        constrain_table=lambda embed_VD: jax.lax.with_sharding_constraint(embed_VD, table),
    )
    chunk = spec.model.logprob_chunk * mesh.n_batch_shards(spec.mesh)  # the rows of a chunk lie on all batch shards
    return token_logp(hidden_BTD, model.head_VD, tokens_BT, temperature, chunk)


def _objective(params: dict, micro: Microbatch, temperature, entropy_weight, spec: UpdateSpec):
    """The minimised sum of one micro-batch, and its tally."""
    logp_BT, entropy_BT = policy_logp(params, micro.tokens_BT, temperature, spec)
    off_BT = jnp.broadcast_to(micro.off_policy_B[:, None], logp_BT.shape)
    advantage_BT = jnp.broadcast_to(micro.advantage_B[:, None], logp_BT.shape)

    def weighted(logp_BT):
        masked = (micro.behaviour_logp_BT, micro.loss_mask_BT, off_BT, advantage_BT)
        return loss.token_objective(logp_BT, *masked, spec.loss) * micro.token_weight_B[:, None]

    objective_BT = weighted(logp_BT)
    trained_entropy = jnp.where(micro.loss_mask_BT, entropy_BT, 0.0).sum()
    push_BT = jnp.abs(jax.grad(lambda x: weighted(x).sum())(jax.lax.stop_gradient(logp_BT)))
    tally = _tally(logp_BT, objective_BT.sum(), trained_entropy, push_BT, off_BT, micro, spec.loss)
    return -objective_BT.sum() - entropy_weight * trained_entropy, tally


def _tally(logp_BT, objective, entropy, push_BT, off_BT, micro: Microbatch, config: LossConfig) -> Tally:
    is_on, is_off = micro.loss_mask_BT & ~off_BT, micro.loss_mask_BT & off_BT
    log_on_BT, log_off_BT = loss.log_ratios(logp_BT, micro.behaviour_logp_BT, micro.loss_mask_BT, off_BT, config)
    ratio_on_BT, ratio_off_BT = jnp.exp(log_on_BT), jnp.exp(log_off_BT)
    shaped_BT = loss.shaped_ratio(log_off_BT, config.gamma)
    clipped_BT = is_on & (push_BT == 0) & (micro.advantage_B != 0)[:, None]
    mismatch_BT = jnp.abs(log_on_BT)

    def total(values_BT, mask_BT):
        return jnp.where(mask_BT, values_BT, 0.0).sum()

    def largest(values_BT, mask_BT):
        return jnp.where(mask_BT, values_BT, 0.0).max()

    return Tally(
        n_on=is_on.sum(dtype=jnp.float32),
        n_off=is_off.sum(dtype=jnp.float32),
        objective=objective,
        entropy=entropy,
        ratio_on=total(ratio_on_BT, is_on),
        ratio_on_max=largest(ratio_on_BT, is_on),
        ratio_off=total(ratio_off_BT, is_off),
        ratio_off_max=largest(ratio_off_BT, is_off),
        shaped_off=total(shaped_BT, is_off),
        shaped_off_max=largest(shaped_BT, is_off),
        clipped=clipped_BT.sum(dtype=jnp.float32),
        push_on=total(push_BT, is_on),
        push_off=total(push_BT, is_off),
        mismatch=total(mismatch_BT, is_on),
        mismatch_max=largest(mismatch_BT, is_on),
    )


@partial(jax.jit, static_argnames="spec")
def zero_sums(spec: UpdateSpec):
    """(gradients, tally) of no micro-batch."""
    zeros = weights.tree(spec.arch, lambda path, row: jnp.zeros(row.shape(spec.arch), jnp.float32))
    zeros = jax.lax.with_sharding_constraint(zeros, mesh.param_shardings(spec.arch, spec.mesh))
    return zeros, Tally(*(jnp.zeros((), jnp.float32) for _ in Tally._fields))


@partial(jax.jit, static_argnames="spec", donate_argnames="sums")
def accumulate(params: dict, sums, micro: Microbatch, temperature, entropy_weight, spec: UpdateSpec):
    """Adds one micro-batch's gradients and tally to `sums`. `entropy_weight`: c / Z."""
    gradients, tally = jax.grad(_objective, has_aux=True)(params, micro, temperature, entropy_weight, spec)
    gradients = jax.lax.with_sharding_constraint(gradients, mesh.param_shardings(spec.arch, spec.mesh))
    joined = {
        name: jnp.maximum(old, new) if name in MAXIMA else old + new
        for name, old, new in zip(Tally._fields, sums[1], tally, strict=True)
    }
    return jax.tree.map(jnp.add, sums[0], gradients), Tally(**joined)


@partial(jax.jit, static_argnames="spec", donate_argnames="state")
def apply(state: TrainState, gradients: dict, spec: UpdateSpec):
    """(state after one optimiser step, gradient norm). A non-finite gradient changes nothing but the counters."""
    tx = optimiser(spec.optim, spec.n_updates)
    norm = optax.tree.norm(gradients)
    ok = jnp.isfinite(norm)
    updates, opt_state = tx.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    kept = jax.tree.map(lambda new, old: jnp.where(ok, new, old), (params, opt_state), (state.params, state.opt_state))
    after = TrainState(
        *kept, state.n_updates + ok, state.n_nonfinite + ~ok, jnp.where(ok, 0, state.n_nonfinite_in_row + 1)
    )
    return jax.lax.with_sharding_constraint(after, state_shardings(spec)), norm


def update(state: TrainState, batch: list[Microbatch], temperature, entropy_weight, spec: UpdateSpec):
    """(state, tally, gradient norm) after one optimiser step over the micro-batches of one update."""
    sums = zero_sums(spec)
    for micro in batch:
        sums = accumulate(state.params, sums, micro, temperature, entropy_weight, spec)
    gradients, tally = sums
    state, norm = apply(state, gradients, spec)
    return state, tally, norm
