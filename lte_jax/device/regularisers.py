"""Regularisers: terms that are added to the loss token by token, beside objective, KL and entropy bonus.

A regulariser is a `Regulariser`, here or in a module of the user's own (`loss.regularisers=[module:Name]`). Its targets
are fixed before a step's first update, of the policy as it was then; its scalars before each update, on the host.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lte_jax.config import ConfigError, LossConfig
from lte_jax.device.objectives import TokenInputs, k3
from lte_jax.device.seen import Seen
from lte_jax.method import Method, Source
from lte_jax.metric import Metric
from lte_jax.plugins import arguments, resolve

Scalars = dict[str, dict[str, np.float32]]  # regulariser -> what its term reads, by name; traced


class Before(NamedTuple):
    """What is known on the host before an update."""

    step: int  # from 0
    n_steps: int
    memory: Mapping[str, Any]  # the regulariser's own, as of before the step
    logp_N: np.ndarray  # as recorded by the sampler, of every on-policy token of the update
    advantage_N: np.ndarray  # of the same tokens


NOTHING = Before(0, 1, {}, np.zeros(0, np.float32), np.zeros(0, np.float32))


class Regulariser(NamedTuple):
    """`term(tokens, scalars)` gives (what each token adds to the minimised sum, {metric: value of each token}); it is
    weighed like the token's objective. The rest is for what a term reads beside the token itself.

    `targets(seen, args)`: arrays [B, T] by name, handed on as `tokens.targets`; they may be made of the whole
    distribution (`Seen.over_vocabulary`). `scalars(before, args)`: numbers by name, always the same names.
    `observe(memory, row, args)`: the memory after a step, plain JSON, from the step's metrics of the update.
    """

    term: Callable[[TokenInputs, Mapping[str, jax.Array]], tuple[jax.Array, dict[str, jax.Array]]]
    rows: Literal["on_policy", "off_policy", "supervised"] = "on_policy"  # whose tokens it is for
    all_rows: bool = False  # rows without advantage are computed too
    metrics: tuple[Metric, ...] = ()
    args: type[BaseModel] | None = None
    targets: Callable[[Seen, Any], dict[str, jax.Array]] | None = None
    scalars: Callable[[Before, Any], dict[str, float]] | None = None
    observe: Callable[[dict, Mapping[str, float], Any], dict] | None = None
    method: Method | None = None


# Lp-Reg

FILTERED = -1e4  # log-prob of a target that the filter throws out (the authors' number)


class LpRegArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kappa: float = Field(0.02, gt=0, le=1, description="tokens below this share of the likeliest are noise")
    beta: float = Field(1.0, gt=0, description="weight of the pull")
    rho: float = Field(0.01, gt=0, le=1, description="share of tokens with A < 0, the least likely, that are pulled")
    most: float = Field(10.0, gt=0, description="largest pull of one token: past it there is no gradient")


def low_probability_pull(tokens: TokenInputs, scalars):
    """beta min(k3(target || pi), 10) where A < 0, the token was among the least likely and lies below its target."""
    args, gap_BT = tokens.args, tokens.targets["minp"] - tokens.logp_BT
    is_low_BT = tokens.mask_BT & (tokens.advantage_BT < 0) & (tokens.recorded_logp_BT <= scalars["threshold"])
    is_pulled_BT = is_low_BT & (gap_BT > 0)
    pull_BT = jnp.minimum(k3(-jnp.where(is_pulled_BT, gap_BT, 0.0)), args.most)
    return args.beta * pull_BT, {"lp_reg/pulled_frac": is_pulled_BT.astype(jnp.float32), "lp_reg/pull": pull_BT}


def without_tail(seen: Seen, args: LpRegArgs) -> dict[str, jax.Array]:
    """The token's log-prob under the old policy without its tail, p < kappa max p, renormalised."""

    def renormalised(logp_BCV, token_BC, head_VD):
        is_kept_BCV = logp_BCV >= logp_BCV.max(axis=-1, keepdims=True) + math.log(args.kappa)
        mass_BC = jax.nn.logsumexp(jnp.where(is_kept_BCV, logp_BCV, -jnp.inf), axis=-1)
        logp_BC, is_kept_BC = (
            jnp.take_along_axis(each, token_BC[..., None], axis=-1)[..., 0] for each in (logp_BCV, is_kept_BCV)
        )
        return jnp.where(is_kept_BC, logp_BC - mass_BC, FILTERED)

    return {"minp": jnp.where(seen.mask_BT, seen.over_vocabulary(renormalised), 0.0)}


def low_threshold(before: Before, args: LpRegArgs) -> dict[str, float]:
    """The recorded log-prob below which a share rho of the tokens with A < 0 lies; none where that is one token."""
    low_N = np.sort(before.logp_N[before.advantage_N < 0])
    n = int(args.rho * len(low_N))
    return {"threshold": float(low_N[n - 1]) if n > 1 else -math.inf}


LP_REG = Regulariser(
    low_probability_pull,
    metrics=(
        Metric("lp_reg/pulled_frac", "mean", "Lp-Reg: tokens that are pulled", "share"),
        Metric("lp_reg/pull", "mean", "Lp-Reg: pull", "nats per token"),
    ),
    args=LpRegArgs,
    targets=without_tail,
    scalars=low_threshold,
    method=Method(
        "improbable tokens that are no noise are pulled back towards the old policy where they are punished",
        "2510.03222",
        Source.EXACT,
        "regularisers",
        cost="one forward pass over the trained rows",
        ours="the least likely tokens are chosen once per update from the recorded log-probs, not per micro-batch from "
        "the current ones; the authors' clip is loss.clip_eps_low: 1, clip_eps_high: 9",
    ),
)

# EPO


class CorridorArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    coef: float = Field(0.001, gt=0, description="lambda of bonus and hinge")
    alpha: float = Field(0.1, ge=0, description="weight of the hinge; it pushes entropy down only above 1 / beta")
    low: float = Field(0.5, ge=0, description="the corridor's lower end, in means of earlier steps")
    high: float = Field(1.5, ge=0, description="its upper end")
    gamma: float = Field(1.0, ge=0, description="how fast the hinge's weight beta falls from 2 towards 1")


def entropy_corridor(tokens: TokenInputs, scalars):
    """-coef (H - beta alpha P), P = max(low - H, 0) + max(H - high, 0): a bonus, and a hinge around earlier entropy."""
    entropy_BT = tokens.entropy_BT
    outside_BT = jnp.maximum(scalars["low"] - entropy_BT, 0) + jnp.maximum(entropy_BT - scalars["high"], 0)
    shown = {"corridor/entropy": entropy_BT, "corridor/outside": outside_BT}
    return -tokens.args.coef * (entropy_BT - scalars["weight"] * outside_BT), shown


def corridor_scalars(before: Before, args: CorridorArgs) -> dict[str, float]:
    """The corridor around the mean of all earlier steps, none in the first; beta = 1 + exp(-gamma k / (K / 2))."""
    n = before.memory.get("n", 0)
    if not n:
        return {"low": 0.0, "high": math.inf, "weight": 0.0}
    mean = before.memory["sum"] / n
    beta = 1 + math.exp(-args.gamma * before.step / max(1, before.n_steps // 2))
    return {"low": args.low * mean, "high": args.high * mean, "weight": beta * args.alpha}


def corridor_memory(memory: dict, row: Mapping[str, float], args: CorridorArgs) -> dict:
    """Sum and number of the steps' mean entropies; a step that updates nothing has none."""
    if "corridor/entropy" not in row:
        return memory
    return {"sum": memory.get("sum", 0.0) + row["corridor/entropy"], "n": memory.get("n", 0) + 1}


CORRIDOR = Regulariser(
    entropy_corridor,
    all_rows=True,
    metrics=(
        Metric("corridor/entropy", "mean", "EPO: entropy of on-policy tokens", "nats per token"),
        Metric("corridor/outside", "mean", "EPO: entropy outside the corridor", "nats per token"),
    ),
    args=CorridorArgs,
    scalars=corridor_scalars,
    observe=corridor_memory,
    method=Method(
        "an entropy bonus, and a hinge that keeps each token's entropy near the mean of earlier steps",
        "2509.22576",
        Source.EXACT,
        "regularisers",
        ours="the paper's text, since the hinge of the released code has no gradient; gamma, which is not given; "
        "hinted tokens are in neither term, since on the plain prompt their entropy is not that of drawing them",
    ),
)

REGULARISERS: dict[str, Regulariser] = {"lp_reg": LP_REG, "corridor": CORRIDOR}


class Chosen(NamedTuple):
    name: str
    regulariser: Regulariser
    args: BaseModel | None


@lru_cache
def chosen(config: LossConfig) -> tuple[Chosen, ...]:
    """Those that `loss.regularisers` names, with their own settings. Raises ConfigError."""
    names, args = config.regularisers, config.regulariser_args
    if unused := sorted(set(args) - set(names)):
        raise ConfigError(f"loss.regulariser_args: settings for {', '.join(unused)}, which loss.regularisers lacks")
    found = {name: resolve("loss.regularisers", name, REGULARISERS, Regulariser) for name in names}
    return tuple(
        Chosen(name, each, arguments(f"loss.regulariser_args.{name}", args.get(name, {}), each.args))
        for name, each in found.items()
    )


def declared(config: LossConfig) -> list[Metric]:
    return [metric for each in chosen(config) for metric in each.regulariser.metrics]


def acts_on_all_rows(config: LossConfig) -> bool:
    return any(each.regulariser.all_rows for each in chosen(config))


def has_targets(config: LossConfig) -> bool:
    return any(each.regulariser.targets for each in chosen(config))


def targets(seen: Seen, config: LossConfig) -> dict[str, dict[str, jax.Array]]:
    """{regulariser: {name: [B, T]}} of those that have some."""
    return {name: each.targets(seen, args) for name, each, args in chosen(config) if each.targets}


def has_scalars(config: LossConfig) -> bool:
    return any(each.regulariser.scalars for each in chosen(config))


def scalars(config: LossConfig, before: Before = NOTHING) -> Scalars | None:
    """Of one update; None where no regulariser reads any. `before.memory`: of all regularisers, by name."""
    found = {
        name: each.scalars(before._replace(memory=before.memory.get(name, {})), args)
        for name, each, args in chosen(config)
        if each.scalars
    }
    return {name: {key: np.float32(x) for key, x in own.items()} for name, own in found.items()} or None


def observed(config: LossConfig, memory: Mapping[str, dict], row: Mapping[str, float]) -> dict[str, dict]:
    """Every regulariser's memory after a step, by name."""
    return {name: each.observe(memory.get(name, {}), row, args) for name, each, args in chosen(config) if each.observe}
