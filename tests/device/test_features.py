"""Features: equal to plain numpy on ragged rows, for any split and mesh, each with its own member."""

from dataclasses import replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rounding
import tiny
from handmade import group, right, rollout, wrong
from pydantic import BaseModel, ConfigDict

from lte_jax.config import Arguments, ConfigError, build
from lte_jax.device import features
from lte_jax.device.features import FEATURES, Feature, FeatureSpec, measure
from lte_jax.device.policy import hidden_states
from lte_jax.device.seen import Seen
from lte_jax.device.update import UpdateSpec, reference_weights
from lte_jax.device.weights import Architecture
from lte_jax.engine.boundary import pack_members
from lte_jax.engine.measure import with_features
from lte_jax.records import Context, Kind, Origin, Span, Status

ARCH = Architecture(
    vocab_size=48, d_model=16, d_ff=24, n_layers=1, n_heads=4, n_kv_heads=2, d_head=6, rope_theta=3e4, rms_eps=1e-3,
    tied=True,
)  # fmt: skip
PARAMS, OTHER = tiny.params(ARCH), tiny.params(ARCH, seed=1)
RANK = Arguments({"rank": {"window": 7, "stride": 2}})
# A state, near 1, goes through the model; a log-prob near 4 adds a sum of V; a mean adds a sum of T
CLOSE = rounding.bound(rounding.forward(ARCH, 16) + 16, magnitude=4)


def config(tokens=256):
    return build(
        {
            "model": {"compute_dtype": "float32", "attention": "xla", "remat": "none", "logprob_chunk": 24},
            "optim": {"length_bucket": 16, "microbatch_tokens": tokens},
            "sample": {"temperature": 1.3},
        }
    )


def spec(mesh=None, names=tuple(FEATURES), args=RANK) -> FeatureSpec:
    c = config()
    return FeatureSpec(UpdateSpec(ARCH, c.model, c.loss, c.optim, 10, mesh or tiny.mesh()), names, args)


def groups():
    """Prompts of 3 tokens and responses of 2 to 9, one hinted, one trained in part and on the prompt that it was drawn
    from, one without a verdict."""
    rng = np.random.default_rng(0)
    made = [(right, wrong)[n % 2](tokens=rng.integers(0, 48, n), logp=[-3.9] * n) for n in range(2, 10)]
    made[1] = replace(made[1], origin=Origin.HINTED)
    partly = (Span(2, Kind.UNTRAINED), Span(5, Kind.ON_POLICY))
    made[5] = replace(right(tokens=made[5].response.tokens, origin=Origin.HINTED), trained_on=Context.OWN, kinds=partly)
    made[3] = rollout(Status.TIMEOUT, tokens=(1, 2, 3))
    return [group(*made[:3]), group(*made[3:], index=1)]


def measured(mesh=None, tokens=256, its=None):
    its = its or spec(mesh)
    placed = jax.device_put(PARAMS, features.mesh.replicated(its.policy.mesh))
    return with_features(groups(), placed, reference_weights(OTHER, its.policy), config(tokens), its)


@pytest.fixture(scope="module")
def whole():
    return measured()


@lru_cache
def policy(other: bool, ids: tuple[int, ...]):
    """(hidden states, log-probs, entropies, distributions) of one row by itself, float64, column t for token t."""
    tokens_BT = np.zeros((1, 16), np.int32)
    tokens_BT[0, : len(ids)] = ids
    hidden_BTD, head_VD = jax.jit(hidden_states, static_argnums=2)(OTHER if other else PARAMS, tokens_BT, spec().policy)
    hidden, head = np.float64(hidden_BTD[0, : len(ids)]), np.float64(head_VD)
    logits = hidden @ head.T / 1.3
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    logp, entropy = np.zeros(len(ids)), np.zeros(len(ids))
    logp[1:], entropy[1:] = np.log(p[np.arange(len(ids) - 1), ids[1:]]), -(p * np.log(p)).sum(1)[:-1]
    return hidden, logp, entropy, p, head


def effective_rank(states):
    sigma = np.linalg.svd(states - states.mean(0), compute_uv=False)
    q = sigma / (sigma.sum() + 1e-8)
    return np.exp(-(q * np.log(q + 1e-8)).sum())


def by_hand(prompt, member):
    """Every feature of one member, from its definition."""
    ids = (*prompt.ids, *map(int, member.response.tokens))
    first = len(prompt.ids) + (member.spans[0].n if member.spans[0].kind is Kind.UNTRAINED else 0)
    hidden, logp, entropy, p, head = policy(False, ids)
    window = hidden[first:][-7:]
    ranks = [effective_rank(window[:end]) for end in range(2, len(window) + 1, 2)]
    d = [rank - np.mean(ranks[:j]) for j, rank in enumerate(ranks) if j]
    return {
        "shift": (logp - policy(True, ids)[1])[first:].sum(),
        "hint_ratio": (logp[first:] - np.float64(member.response.behaviour_logp)[first - len(prompt.ids) :]).mean(),
        "mean_entropy": entropy[first:].mean(),
        "mean_hidden": hidden[first:].mean(0),
        "sensitivity": np.mean([head[ids[t]] - p[t - 1] @ head for t in range(first, len(ids))], 0),
        "rank": [effective_rank(window), np.mean(d) if d else 0, np.mean(np.diff(d)) if len(d) > 1 else 0],
    }


def test_every_feature_is_its_definition_on_ragged_rows(whole):
    n_seen = 0
    for each in whole:
        for member, found in zip(each.members, each.features, strict=True):
            if not member.decided:
                assert found == {}
                continue
            n_seen += 1
            prompt = each.prompt if member.trained_on is Context.GROUP else member.prompt
            assert found.keys() == FEATURES.keys()
            for name, wanted in by_hand(prompt, member).items():
                # singular values are roots: what a Gram matrix is off by, a small one is off by the root of
                atol = CLOSE**0.5 if name == "rank" else 10 * CLOSE
                np.testing.assert_allclose(found[name], wanted, atol=atol, err_msg=f"{name} {member.response.tokens}")
    assert n_seen == 7


@pytest.mark.parametrize("tokens", [64, 128])
def test_the_split_into_micro_batches_does_not_matter(whole, tokens):
    assert_same(measured(tokens=tokens), whole)


def test_eight_devices_measure_what_one_does(whole):
    assert_same(measured(tiny.mesh(2, 2, 2)), whole)


def assert_same(ours, reference):
    for a, b in zip(ours, reference, strict=True):
        for one, other in zip(a.features, b.features, strict=True):
            assert one.keys() == other.keys()
            for name, value in other.items():
                atol = CLOSE**0.5 if name == "rank" else 10 * CLOSE
                np.testing.assert_allclose(one[name], value, atol=atol, err_msg=name)


def test_a_padding_row_gives_finite_zeros_and_nothing_more_than_features_leaves_the_program():
    (_, micro), *_ = pack_members(groups(), config(), tiny.mesh(8))
    its = spec(tiny.mesh(8))
    found = measure(PARAMS, reference_weights(OTHER, its.policy), micro, np.float32(1.3), its)
    padding_B = ~np.asarray(micro.trained_BT).any(axis=1)
    assert padding_B.any()
    for name, value in found.items():
        rows = np.asarray(value)[padding_B]
        assert np.isfinite(rows).all() and (name == "rank" or not rows.any()), name
    assert {name: value.shape[1:] for name, value in found.items()} == {
        "shift": (), "hint_ratio": (), "mean_entropy": (), "mean_hidden": (16,), "sensitivity": (16,), "rank": (3,),
    }  # fmt: skip


def seen(hidden_BTD, mask_BT) -> Seen:
    return Seen(None, jnp.array(mask_BT), None, None, jnp.array(hidden_BTD, jnp.float32), None, None)


def test_effective_ranks_by_hand():
    """States on a line have rank 1, on two axes 2; ranks 1, 2, 3 rise by 1 and 1.5."""
    states = [[1, 0], [-1, 0], [0, 0], [9, 9]], [[1, 0], [-1, 0], [0, 1], [0, -1]]
    mask_BT = [[True] * 3 + [False], [True] * 4]
    rank_B = features.rank(seen(states, mask_BT), features.RankSettings(window=4, stride=4))[:, 0]
    np.testing.assert_allclose(rank_B, [1, 2], atol=1e-5)
    velocity = features._velocity(jnp.array([[1.0, 2, 3], [1, 2, 3], [1, 2, 3]]), jnp.array([3, 2, 1]))
    np.testing.assert_allclose(velocity, [[1.25, 1, 0], [0.5, 0, 0]], atol=1e-6)


def test_sensitivity_is_the_gradient_by_the_last_hidden_state():
    """T d logp / d h, as G2RL defines it."""
    (owners, micro), *_ = pack_members(groups()[:1], config(), tiny.mesh())
    its = spec(names=("sensitivity",), args=Arguments())
    found = measure(PARAMS, None, micro, np.float32(1.3), its)["sensitivity"]
    hidden_BTD, head_VD = hidden_states(PARAMS, micro.tokens_BT, its.policy)

    def mean_logp(hidden_BTD):
        logits = jnp.einsum("btd,vd->btv", hidden_BTD, head_VD) / 1.3
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.roll(micro.tokens_BT, -1, 1)[..., None], -1)[
            ..., 0
        ]
        mask_BT = micro.trained_BT
        return (jnp.where(mask_BT[:, 1:], chosen[:, :-1], 0).sum(1) / jnp.maximum(mask_BT.sum(1), 1)).sum()

    wanted = 1.3 * jax.grad(mean_logp)(hidden_BTD).sum(1)
    np.testing.assert_allclose(found, wanted, atol=10 * CLOSE)
    assert owners[0] is not None and np.abs(wanted).max() > 0.1


class Wide(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    n: int = 1


OWN = Feature(lambda seen, args: seen.logp_BT * args.n, per_token=True, args=Wide)
SUMMED = Feature(lambda seen, args: seen.logp_BT.sum())


def test_a_feature_of_each_token_comes_back_as_long_as_its_response():
    its = spec(names=("test_features:OWN",), args=Arguments({"test_features:OWN": {"n": 2}}))
    (first, _) = measured(its=its)
    for member, found in zip(first.members, first.features, strict=True):
        ids = (*first.prompt.ids, *map(int, member.response.tokens))
        assert found["test_features:OWN"].dtype == np.float32
        np.testing.assert_allclose(found["test_features:OWN"], 2 * policy(False, ids)[1][3:], atol=CLOSE * 2)


def test_what_no_credit_reads_and_what_has_another_shape_is_refused():
    with pytest.raises(ConfigError, match="settings for rank, which no credit reads"):
        features.chosen(("shift",), RANK)
    with pytest.raises(ConfigError, match=r"advantage.feature_args.rank: windw"):
        features.chosen(("rank",), Arguments({"rank": {"windw": 3}}))
    its = spec(names=("test_features:SUMMED",), args=Arguments())
    with pytest.raises(ValueError, match=r"feature test_features:SUMMED: wanted an array \[\d+\] or .*, got \[\]"):
        measured(its=its)
