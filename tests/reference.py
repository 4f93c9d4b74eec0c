"""What parity tests share: transformers' models of our architectures, with random weights, beside our own."""

import copy
import os
from functools import partial

import jax
import numpy as np
import pytest
import tiny

from lte_jax.config import EngineConfig, ModelConfig
from lte_jax.device import qwen3
from lte_jax.device.attention import causal_attention
from lte_jax.device.weights import Architecture
from lte_jax.engine.rollout import Engine
from lte_jax.records import Prompt, Request, Sampling


def require_torch():
    """torch, or a skip that says how to get it; where CI is "true" a failure, so that parity is never lost silently."""
    try:
        import torch
    except ImportError:
        if os.environ.get("CI") == "true":
            pytest.fail("parity tests may not be skipped in CI, and torch is not installed: pip install -e '.[parity]'")
        pytest.skip("torch is not installed: pip install -e '.[parity]'", allow_module_level=True)
    torch.set_num_threads(1)
    return torch


torch = require_torch()


def reference_config(arch: Architecture):
    """transformers' config, written by hand: not by the code under test."""
    import transformers

    rope = {"rope_type": "default", "rope_theta": arch.rope_theta}
    if arch.yarn:
        rope |= {
            "rope_type": "yarn",
            "factor": arch.yarn.factor,
            "original_max_position_embeddings": arch.yarn.trained_length,
            "beta_fast": arch.yarn.beta_fast,
            "beta_slow": arch.yarn.beta_slow,
            "truncate": arch.yarn.truncate,
        }
    values = dict(
        vocab_size=arch.vocab_size,
        hidden_size=arch.d_model,
        intermediate_size=arch.d_ff,
        num_hidden_layers=arch.n_layers,
        num_attention_heads=arch.n_heads,
        num_key_value_heads=arch.n_kv_heads,
        head_dim=arch.d_head,
        rms_norm_eps=arch.rms_eps,
        tie_word_embeddings=arch.tied,
        rope_parameters=rope,
        eos_token_id=[3, 5],
    )
    if not arch.experts:
        return (transformers.Qwen3Config if arch.qk_norm else transformers.Qwen2Config)(**values)
    return transformers.Qwen3MoeConfig(
        **values,
        experts_implementation="eager",  # torch's grouped product wants sizes that are multiples of 4
        moe_intermediate_size=arch.d_ff,
        num_experts=arch.experts.n,
        num_experts_per_tok=arch.experts.n_active,
        norm_topk_prob=arch.experts.normed,
    )


def reference_model(arch: Architecture, seed: int):
    """A transformers model of this architecture with random float32 weights, norm scales and biases among them."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_config(reference_config(arch)).eval()
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = 1 + 0.3 * noise if weight.ndim == 1 else 2 * noise / arch.d_model**0.5
    model.model.embed_tokens.weight.data *= 0.5  # else a tied model only repeats its last token
    return model


def load(folder, **options):
    """(model in float32, loading info) as transformers reads the folder."""
    import transformers

    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, local_files_only=True, **options
    )
    return model.eval(), info


def reference_logits(model, tokens_BT):
    with torch.no_grad():
        return model(torch.tensor(tokens_BT)).logits.numpy()


@partial(jax.jit, static_argnames="arch")
def our_logits(params, tokens_BT, arch):
    model = qwen3.bind(arch, params)
    hidden_BTD = model(tokens_BT, dtype=np.float32, attend=partial(causal_attention, impl="reference"))
    return qwen3.logits(hidden_BTD, model.head_VD)


def condition(model, outcome) -> float:
    """How many times a random relative change of every weight comes back in the arrays of outcome(model), each array
    relative to its largest entry."""
    change, generator, moved = 2.0**-16, torch.Generator().manual_seed(0), copy.deepcopy(model)
    for weight in moved.parameters():
        weight.data *= 1 + change * torch.randn(weight.shape, generator=generator).sign()
    pairs = zip(outcome(model), outcome(moved), strict=True)
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs) / change


def tokens(arch, n_rows=2, n_columns=37):
    return np.random.default_rng(1).integers(0, arch.vocab_size, (n_rows, n_columns))


def reference_greedy(model, prompt, stop_ids, n):
    prompt = torch.tensor([prompt])
    out = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=n,
        eos_token_id=list(stop_ids) or None,
        pad_token_id=0,
    )
    return out[0, prompt.shape[1] :].tolist()


def greedy(arch, params, prompts, stop_ids, n):
    """Our engine's greedy response to each prompt, as token ids."""
    engine_config = EngineConfig(slots=4, chunk=8, prefill_rows=4, length_bucket=64)
    longest = max(map(len, prompts))
    engine = Engine(arch, ModelConfig(compute_dtype="float32"), engine_config, tiny.mesh(), stop_ids, longest)
    engine.load(params)
    requests = [Request(Prompt("", tuple(ids)), (0, 0, 0, i, 0, 0)) for i, ids in enumerate(prompts)]
    drawn = dict(engine.generate(requests, Sampling(temperature=1.0, top_p=1.0, top_k=1, response_budget=n)))
    return [drawn[i].tokens.tolist() for i in range(len(prompts))]
