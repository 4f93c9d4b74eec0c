"""Qwen2.5, YaRN and experts against transformers: logits, greedy tokens, gradients, and folders that go both ways."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rounding
import tiny
from reference import (
    condition,
    greedy,
    load,
    our_logits,
    reference_greedy,
    reference_logits,
    reference_model,
    tokens,
    torch,
)
from safetensors.numpy import load_file

from lte_jax.config import LossConfig, ModelConfig, OptimConfig
from lte_jax.device.policy import policy_logp
from lte_jax.device.rope import rotation
from lte_jax.device.update import UpdateSpec
from lte_jax.device.weights import Experts, Yarn
from lte_jax.model_io import convert
from lte_jax.model_io.hf_config import HfConfig, read_config

YARN = Yarn(
    factor=4.0, trained_length=24, beta_fast=8.0, beta_slow=0.5, attention_factor=0.1 * np.log(4) + 1, truncate=True
)
VARIANTS = {
    "qwen2": replace(tiny.ARCH, qk_norm=False),
    "yarn": replace(tiny.ARCH, yarn=YARN),
    "yarn not truncated": replace(tiny.UNTIED, d_head=14, yarn=replace(YARN, truncate=False)),
    "experts": replace(tiny.UNTIED, d_ff=10, experts=Experts(n=6, n_active=2, normed=True)),
    "experts not normed": replace(tiny.ARCH, d_ff=10, experts=Experts(n=5, n_active=3, normed=False)),
}


@pytest.fixture(scope="module", params=VARIANTS)
def saved(request, tmp_path_factory):
    """(architecture, transformers model, folder it saved in float32 and in several shards)."""
    arch = VARIANTS[request.param]
    model = reference_model(arch, seed=len(request.param))
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save_pretrained(folder, max_shard_size="8KB")
    return arch, model, folder


def test_logits_equal_transformers(saved):
    arch, model, folder = saved
    stretched = {"max_positions": round(arch.yarn.factor * arch.yarn.trained_length)} if arch.yarn else {}
    assert read_config(folder) == HfConfig(arch, (3, 5), **stretched)
    ours = our_logits(convert.import_params(folder, arch, tiny.mesh()), tokens(arch, n_columns=61), arch)
    reference = reference_logits(model, tokens(arch, n_columns=61))
    largest = np.abs(reference).max()
    assert largest > 2  # logits large enough to differ
    scale = largest * condition(model, lambda its: [reference_logits(its, tokens(arch, n_columns=61))])
    np.testing.assert_allclose(ours, reference, rtol=0, atol=rounding.bound(rounding.longest(arch, 61), scale))


def test_greedy_tokens_equal_transformers_generate(saved):
    arch, model, folder = saved
    model.generation_config.eos_token_id = None
    prompts = [row[:length].tolist() for row, length in zip(tokens(arch, 3), (2, 7, 19), strict=True)]
    drawn = greedy(arch, convert.import_params(folder, arch, tiny.mesh()), prompts, (), 24)
    assert drawn == [reference_greedy(model, prompt, (), 24) for prompt in prompts]
    assert len(set(sum(drawn, []))) > 6  # greedy is not one token


@pytest.mark.parametrize("keep_config", [True, False], ids=["config kept", "config written"])
def test_an_export_loads_in_transformers_as_the_same_model(saved, tmp_path, keep_config):
    arch, model, source = saved
    made = tmp_path / "made"
    params = convert.import_params(source, arch, tiny.mesh())
    config_from = source if keep_config else None
    convert.export_params(made, arch, params, dtype="float32", stop_ids=(3, 5), config_from=config_from)
    before, after = (
        {name: array for file in folder.glob("*.safetensors") for name, array in load_file(file).items()}
        for folder in (source, made)
    )
    assert {name: a.tobytes() for name, a in before.items()} == {name: a.tobytes() for name, a in after.items()}
    loaded, info = load(made, **({"experts_implementation": "eager"} if arch.experts else {}))
    assert type(loaded) is type(model) and not any(info.values()), info
    np.testing.assert_array_equal(reference_logits(loaded, tokens(arch)), reference_logits(model, tokens(arch)))


def test_the_gradient_of_the_update_equals_torchs(saved, tmp_path):
    arch, model, folder = saved
    tokens_BT = tokens(arch)
    weight_BT = np.random.default_rng(3).standard_normal(tokens_BT.shape).astype(np.float32)

    def torchs(model):
        logits = torch.log_softmax(model(torch.tensor(tokens_BT)).logits[:, :-1] / 1.3, dim=-1)
        logp = torch.gather(logits, 2, torch.tensor(tokens_BT)[:, 1:, None])[..., 0]
        model.zero_grad()
        (logp * torch.tensor(weight_BT)[:, 1:]).sum().backward()
        return [weight.grad.numpy().copy() for weight in model.parameters()]

    magnified = condition(model, torchs)
    gradient = reference_model(arch, seed=0)
    for ours, theirs in zip(gradient.parameters(), model.parameters(), strict=True):
        ours.data = theirs.grad
    gradient.save_pretrained(tmp_path / "gradient")  # so that the import puts it into our form
    expected = convert.import_params(tmp_path / "gradient", arch, tiny.mesh())

    config = ModelConfig(compute_dtype="float32", attention="xla", logprob_chunk=32)
    spec = UpdateSpec(arch, config, LossConfig(), OptimConfig(), 10, tiny.mesh())

    @jax.grad
    def gradients(params):
        return jnp.sum(policy_logp(params, tokens_BT, 1.3, spec)[0] * weight_BT)

    found = jax.jit(gradients)(convert.import_params(folder, arch, tiny.mesh()))
    for (path, ours), theirs in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        scale = np.abs(theirs).max()
        assert scale > 0, path
        tolerance = rounding.bound(rounding.longest(arch, tokens_BT.size), magnified * scale)  # summed over all tokens
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=str(path))


def test_yarn_leaves_the_fast_pairs_and_slows_the_slow_ones_by_the_factor():
    arch = replace(tiny.ARCH, d_head=64, rope_theta=1e6)
    plain = rotation(jnp.ones((1, 1)), arch)
    stretched = rotation(jnp.ones((1, 1)), replace(arch, yarn=replace(YARN, trained_length=4096, attention_factor=2.0)))
    angle = partial(np.arctan2, dtype=np.float32)
    ratio = (angle(stretched.sin_BTH, stretched.cos_BTH) / angle(plain.sin_BTH, plain.cos_BTH))[0, 0]
    tolerance = rounding.bound(4 * rounding.FUNCTION + 4, magnitude=np.log(1e6))  # a power is exp(x log 1e6)
    np.testing.assert_allclose(ratio[:8], 1, rtol=tolerance)
    np.testing.assert_allclose(ratio[-8:], 1 / 4, rtol=tolerance)
    assert (np.diff(ratio) <= tolerance).all()
    radius = np.hypot(stretched.sin_BTH, stretched.cos_BTH)
    np.testing.assert_allclose(radius, 2, rtol=rounding.bound(2 * rounding.FUNCTION + 4))
