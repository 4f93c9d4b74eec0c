"""The mixture of experts: equal to a plain sum over all experts, on any mesh, in the forward and the backward pass."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rounding
import tiny

from lte_jax.config import EngineConfig, LossConfig, ModelConfig, OptimConfig
from lte_jax.device import mesh as meshes
from lte_jax.device.experts import mixture
from lte_jax.device.policy import policy_logp
from lte_jax.device.update import UpdateSpec
from lte_jax.device.weights import Experts
from lte_jax.engine.rollout import Engine
from lte_jax.records import Prompt, Request, Sampling

# Sizes that a mesh of 8 devices divides: D by 4, experts, heads and vocabulary by 2.
ARCH = replace(tiny.UNTIED, d_ff=10, n_layers=2, experts=Experts(n=6, n_active=2, normed=True))


def plain_mixture(x_BTD, router_DE, gate_EDX, up_EDX, down_EXD, experts):
    """Every expert on every token, weighted: the definition."""
    p_BTE = jax.nn.softmax(x_BTD @ router_DE, axis=-1)
    chosen_BTE = p_BTE >= jax.lax.top_k(p_BTE, experts.n_active)[0][..., -1:]
    weight_BTE = jnp.where(chosen_BTE, p_BTE, 0)
    if experts.normed:
        weight_BTE /= weight_BTE.sum(-1, keepdims=True)
    hidden = jax.nn.silu(jnp.einsum("btd,edx->btex", x_BTD, gate_EDX)) * jnp.einsum("btd,edx->btex", x_BTD, up_EDX)
    return jnp.einsum("btex,exd,bte->btd", hidden, down_EXD, weight_BTE)


# Router and expert each sum over D and X, and all experts are summed; for gradients the same back and over 8 x 5 tokens
FORWARD = 2 * ARCH.d_model + ARCH.d_ff + 2 * ARCH.experts.n + 3 * rounding.FUNCTION
BACKWARD = 2 * FORWARD + 8 * 5


def arguments():
    layers = tiny.params(ARCH)["layers"]
    x_BTD = np.random.default_rng(1).standard_normal((8, 5, 12), np.float32)
    return x_BTD, *(layers[name][1] for name in ("router", "expert_gate", "expert_up", "expert_down"))


@pytest.mark.parametrize("shape", [None, (1, 4, 2), (2, 1, 3)], ids=str)
def test_it_is_the_weighted_sum_of_each_tokens_experts_on_any_mesh(shape):
    experts, mesh = ARCH.experts, shape and tiny.mesh(*shape)
    direction = np.random.default_rng(2).standard_normal((8, 5, 12), np.float32)

    def outcome(function):
        def value(arguments):
            out_BTD = function(*arguments)
            return (out_BTD * direction).sum(), out_BTD

        return jax.jit(jax.value_and_grad(value, has_aux=True))(arguments())

    (_, ours), ours_grad = outcome(lambda *a: mixture(*a, experts, mesh))
    (_, wanted), wanted_grad = outcome(lambda *a: plain_mixture(*a, experts))
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=rounding.bound(FORWARD, np.abs(wanted).max()))
    for a, b in zip(ours_grad, wanted_grad, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rounding.bound(BACKWARD, np.abs(b).max()))


@pytest.mark.slow
def test_experts_lie_over_tensor_and_their_gradient_does_too():
    mesh = tiny.mesh(1, 4, 2)
    spec = UpdateSpec(ARCH, ModelConfig(compute_dtype="float32", attention="xla"), LossConfig(), OptimConfig(), 9, mesh)
    masters = meshes.param_shardings(ARCH, mesh)
    assert masters["layers"]["expert_gate"].spec == jax.P(None, "tensor", "fsdp", None)
    assert meshes.sampler_shardings(ARCH, mesh)["layers"][0]["expert_down"].spec == jax.P("tensor", None, None)
    tokens_BT = np.random.default_rng(0).integers(0, 50, (8, 16))

    def gradient(spec):
        def value(params):
            return policy_logp(params, tokens_BT, 1.0, spec)[0].sum()

        shardings = meshes.param_shardings(ARCH, spec.mesh)
        return jax.jit(jax.grad(value), out_shardings=shardings)(jax.device_put(tiny.params(ARCH), shardings))

    sharded, whole = gradient(spec), gradient(replace(spec, mesh=tiny.mesh()))
    for (path, a), b in zip(jax.tree.leaves_with_path(sharded), jax.tree.leaves(whole), strict=True):
        tolerance = rounding.bound(rounding.backward(ARCH, 8, 16), np.abs(b).max())
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance, err_msg=str(path))


def test_an_architecture_whose_experts_the_mesh_does_not_divide_is_refused():
    arch = replace(ARCH, experts=replace(ARCH.experts, n=5))
    with pytest.raises(ValueError, match="mesh.tensor = 2 does not divide experts.n = 5"):
        meshes.check_divides(arch, tiny.mesh(1, 1, 2))


@pytest.mark.slow
def test_the_sampler_draws_the_same_tokens_on_any_mesh():
    requests = [Request(Prompt("", (3 + i, 9, 1 + i)), (0, 0, 0, i, 0, 0)) for i in range(3)]

    def drawn(*shape):
        options = EngineConfig(slots=8, chunk=4, prefill_rows=8, length_bucket=32)
        engine = Engine(ARCH, ModelConfig(compute_dtype="float32"), options, tiny.mesh(*shape), (7,), 3)
        engine.load(tiny.params(ARCH))
        made = dict(engine.generate(requests, Sampling(temperature=1.0, top_p=1.0, top_k=0, response_budget=8)))
        return [made[i].tokens.tolist() for i in range(3)]

    assert drawn(1, 4, 2) == drawn(1, 1, 1)
