"""Features: what the policy makes of each response, measured without gradient before advantages, for credits to read.

A feature is a `Feature`, here or in a module of the user's own; a credit names those that it reads
(`Credit.features`). They are measured in one pass over all members of a step, in one program for each shape.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from pydantic import BaseModel, ConfigDict, Field

from lte_jax.config import Arguments, ConfigError
from lte_jax.device import mesh
from lte_jax.device.arrays import Microbatch
from lte_jax.device.seen import Seen, see
from lte_jax.device.update import UpdateSpec
from lte_jax.plugins import arguments, resolve

NO_SETTINGS = Arguments()


class Feature(NamedTuple):
    """`measure(seen, args)` gives one number for each row, [B], some, [B, K], or where `per_token` one for each token,
    [B, T]: what lies outside the response is dropped. Small, since all of it goes to the host.

    `args`: the pydantic model (frozen) of its own settings; `needs_reference`: it reads the starting model's log-probs.
    """

    measure: Callable[[Seen, Any], jax.Array]
    per_token: bool = False
    needs_reference: bool = False
    args: type[BaseModel] | None = None


def shift(seen: Seen, args) -> jax.Array:
    """log pi(y | x) - log pi_ref(y | x) [B]: how much likelier training has made the response."""
    return (seen.logp_BT - seen.reference_logp_BT).sum(axis=1)


def hint_ratio(seen: Seen, args) -> jax.Array:
    """Mean of log r' [B], nats: the policy on what the response is trained on, over what it was drawn from."""
    ratio_BT = jnp.where(seen.mask_BT, seen.logp_BT - seen.micro.behaviour_logp_BT, 0.0)
    return ratio_BT.sum(axis=1) / _count(seen)


def mean_entropy(seen: Seen, args) -> jax.Array:
    """Of the policy at the response's tokens [B], nats."""
    return seen.entropy_BT.sum(axis=1) / _count(seen)


def mean_hidden(seen: Seen, args) -> jax.Array:
    """Mean over the response's tokens of the last hidden state, after the norm [B, D]."""
    return jnp.einsum("btd,bt->bd", seen.hidden_BTD.astype(jnp.float32), seen.mask_BT / _count(seen)[:, None])


def sensitivity(seen: Seen, args) -> jax.Array:
    """Mean over the response's tokens of W_y - E[W] [B, D]: the direction in which the last hidden state would have to
    move for them to become likelier, times the temperature (G2RL, arXiv 2512.15687)."""

    def directions(logp_BCV, token_BC, head_VD):
        p_BCV = jnp.exp(logp_BCV).astype(head_VD.dtype)
        mean_BCD = jnp.einsum("bcv,vd->bcd", p_BCV, head_VD, preferred_element_type=jnp.float32)
        return head_VD[token_BC].astype(jnp.float32) - mean_BCD

    phi_BTD = seen.over_vocabulary(directions)
    return jnp.einsum("btd,bt->bd", phi_BTD, seen.mask_BT / _count(seen)[:, None])


class RankSettings(BaseModel):
    """Tokens. VERL's code has these numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    window: int = Field(512, ge=1)
    stride: int = Field(40, ge=1)


def rank(seen: Seen, args: RankSettings) -> jax.Array:
    """(effective rank, its velocity, its acceleration) of the response's last hidden states [B, 3] (VERL, 2509.23808).

    Over the last `window` tokens: m_j is the rank of the first j strides, d_j = m_j - mean(m_1 ... m_(j-1)); velocity is
    the mean of d_j, acceleration that of d_j - d_(j-1), 0 where there are too few. VERL takes the rank itself over the
    whole response; here it is over the window, since that would be a decomposition of [T, D] for each row.
    """
    n_columns = seen.mask_BT.shape[1]
    window = min(args.window, n_columns)
    n_B = seen.mask_BT.sum(axis=1)
    column_BT = jnp.argsort(~seen.mask_BT, axis=1, stable=True)  # the response's columns first
    place_BW = jnp.maximum(n_B - window, 0)[:, None] + jnp.arange(window)
    column_BW = jnp.take_along_axis(column_BT, jnp.minimum(place_BW, n_columns - 1), axis=1)
    hidden_BWD = jnp.take_along_axis(seen.hidden_BTD, column_BW[..., None], axis=1).astype(jnp.float32)
    n_B = jnp.minimum(n_B, window)
    gram_BWW = jnp.einsum("bwd,bxd->bwx", hidden_BWD, hidden_BWD)
    rank_B = _effective_rank(gram_BWW, n_B)
    ends = range(args.stride, window + 1, args.stride)
    ranks = [_effective_rank(gram_BWW[:, :end, :end], jnp.full_like(n_B, end)) for end in ends]
    ranks_BJ = jnp.stack(ranks, axis=1) if ranks else jnp.zeros((len(n_B), 0))
    return jnp.stack([rank_B, *_velocity(ranks_BJ, n_B // args.stride)], axis=1)


def _effective_rank(gram_BWW, n_B):
    """exp of the entropy of the singular values' shares, of n_B centred states each. Below rounding they are 0."""
    mask_BW = jnp.arange(gram_BWW.shape[1]) < n_B[:, None]
    share_BW = mask_BW / jnp.maximum(n_B, 1)[:, None]
    mean_BW = jnp.einsum("bwx,bx->bw", gram_BWW, share_BW)
    centred_BWW = gram_BWW - mean_BW[:, :, None] - mean_BW[:, None, :] + (mean_BW * share_BW).sum(1)[:, None, None]
    centred_BWW = jnp.where(mask_BW[:, :, None] & mask_BW[:, None, :], centred_BWW, 0.0)
    value_BW = jnp.linalg.eigvalsh(centred_BWW)
    floor_B1 = value_BW.max(axis=1, keepdims=True) * jnp.finfo(jnp.float32).eps * gram_BWW.shape[1]
    sigma_BW = jnp.sqrt(jnp.where(value_BW > floor_B1, value_BW, 0.0))
    q_BW = sigma_BW / (sigma_BW.sum(axis=1, keepdims=True) + 1e-8)
    return jnp.exp(-(q_BW * jnp.log(q_BW + 1e-8)).sum(axis=1))


def _velocity(rank_BJ, n_B):
    """(mean of d_j, mean of d_j - d_(j-1)) over the first n_B ranks."""
    j = jnp.arange(1, rank_BJ.shape[1])
    d_BJ = rank_BJ[:, 1:] - jnp.cumsum(rank_BJ, axis=1)[:, :-1] / j
    velocity_B = jnp.where(j < n_B[:, None], d_BJ, 0.0).sum(axis=1) / jnp.maximum(n_B - 1, 1)
    change_BJ = jnp.where(j[1:] < n_B[:, None], d_BJ[:, 1:] - d_BJ[:, :-1], 0.0)
    return velocity_B, change_BJ.sum(axis=1) / jnp.maximum(n_B - 2, 1)


def _count(seen: Seen):
    """Tokens of each response, 1 at least."""
    return jnp.maximum(seen.mask_BT.sum(axis=1), 1).astype(jnp.float32)


FEATURES: dict[str, Feature] = {
    "shift": Feature(shift, needs_reference=True),
    "hint_ratio": Feature(hint_ratio),
    "mean_entropy": Feature(mean_entropy),
    "mean_hidden": Feature(mean_hidden),
    "sensitivity": Feature(sensitivity),
    "rank": Feature(rank, args=RankSettings),
}


@dataclass(frozen=True)
class FeatureSpec:
    """What is static under jit: the policy's part, and what is measured of it."""

    policy: UpdateSpec
    names: tuple[str, ...]
    args: Arguments = NO_SETTINGS  # name -> settings

    @property
    def needs_reference(self) -> bool:
        return any(feature.needs_reference for feature, _ in chosen(self.names, self.args).values())


@lru_cache
def chosen(names: tuple[str, ...], args: Arguments) -> Mapping[str, tuple[Feature, BaseModel | None]]:
    """{name: (the feature, its own settings)}. Raises ConfigError."""
    if unused := sorted(set(args) - set(names)):
        raise ConfigError(f"advantage.feature_args: settings for {', '.join(unused)}, which no credit reads")
    found = {name: resolve("features of a credit", name, FEATURES, Feature) for name in names}
    return {
        name: (feature, arguments(f"advantage.feature_args.{name}", args.get(name, {}), feature.args))
        for name, feature in found.items()
    }


@partial(jax.jit, static_argnames="spec")
def measure(params: dict, reference: dict | None, micro: Microbatch, temperature, spec: FeatureSpec) -> dict:
    """{name: float32 [B], [B, K] or [B, T]} of one micro-batch, whole on every device. `reference`: only where one of
    them needs it."""
    seen = see(params, reference, micro, temperature, spec.policy)
    found = {}
    for name, (feature, args) in chosen(spec.names, spec.args).items():
        value = feature.measure(seen, args).astype(jnp.float32)
        n_rows, n_columns = micro.tokens_BT.shape
        fits = value.shape == (n_rows, n_columns) if feature.per_token else value.ndim in (1, 2)
        if not fits or value.shape[0] != n_rows:
            wanted = f"[{n_rows}, {n_columns}]" if feature.per_token else f"[{n_rows}] or [{n_rows}, K]"
            raise ValueError(f"feature {name}: wanted an array {wanted}, got {list(value.shape)}")
        found[name] = value
    return jax.lax.with_sharding_constraint(found, mesh.replicated(spec.policy.mesh))
