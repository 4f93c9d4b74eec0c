"""Against transformers, on random weights: logits, greedy tokens, and folders that go back and forth unchanged."""

import os
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file

from lte_jax import convert
from lte_jax.config import EngineConfig, ModelConfig
from lte_jax.device import qwen3
from lte_jax.device.attention import causal_attention
from lte_jax.device.weights import Architecture
from lte_jax.hf_config import HfConfig, read_config
from lte_jax.records import Prompt, Request, Sampling
from lte_jax.rollout import Engine


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

ODD = Architecture(
    vocab_size=301,
    d_model=40,
    d_ff=77,
    n_layers=2,
    n_heads=9,
    n_kv_heads=3,
    d_head=14,
    rope_theta=5e5,
    rms_eps=1e-4,
    tied=False,
)
ARCHITECTURES = {"tied": tiny.ARCH, "untied": tiny.UNTIED, "odd": ODD}


def reference_model(arch: Architecture, seed: int):
    """A transformers Qwen3 with random float32 weights, random norm scales among them."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    config = transformers.Qwen3Config(
        vocab_size=arch.vocab_size,
        hidden_size=arch.d_model,
        intermediate_size=arch.d_ff,
        num_hidden_layers=arch.n_layers,
        num_attention_heads=arch.n_heads,
        num_key_value_heads=arch.n_kv_heads,
        head_dim=arch.d_head,
        rms_norm_eps=arch.rms_eps,
        tie_word_embeddings=arch.tied,
        rope_parameters={"rope_type": "default", "rope_theta": arch.rope_theta},
        eos_token_id=[3, 5],
    )
    model = transformers.Qwen3ForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = 1 + 0.3 * noise if weight.ndim == 1 else 2 * noise / arch.d_model**0.5
    model.model.embed_tokens.weight.data *= 0.5  # else a tied model only repeats its last token
    return model


def load(folder):
    """(model in float32, loading info) as transformers reads the folder."""
    import transformers

    model, info = transformers.Qwen3ForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, local_files_only=True
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


def tokens(arch, n_rows=2, n_columns=37):
    return np.random.default_rng(1).integers(0, arch.vocab_size, (n_rows, n_columns))


def stored(folder: Path):
    return {name: array for file in folder.glob("*.safetensors") for name, array in load_file(file).items()}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def saved(request, tmp_path_factory):
    """(architecture, transformers model, folder it saved in float32 and in several shards)."""
    arch = ARCHITECTURES[request.param]
    model = reference_model(arch, seed=len(request.param))
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save_pretrained(folder, max_shard_size="4KB")
    return arch, model, folder


def test_logits_equal_transformers(saved):
    arch, model, folder = saved
    hf = read_config(folder)
    assert hf == HfConfig(arch, (3, 5))
    ours = our_logits(convert.import_params(folder, arch, tiny.mesh()), tokens(arch), arch)
    reference = reference_logits(model, tokens(arch))
    assert np.abs(reference).max() > 2  # logits large enough to differ
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-4)


def test_one_shard_and_several_import_alike(saved, tmp_path):
    arch, model, folder = saved
    model.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1 < len(list(folder.glob("*.safetensors")))
    one, several = (convert.import_params(where, arch, tiny.mesh()) for where in (tmp_path, folder))
    jax.tree.map(np.testing.assert_array_equal, one, several)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("keep_config", [True, False], ids=["config kept", "config written"])
def test_an_export_loads_in_transformers_as_the_same_model(saved, tmp_path, dtype, keep_config):
    arch, model, source = saved
    if dtype == "bfloat16":
        source = tmp_path / "source"
        reference_model(arch, seed=2).to(torch.bfloat16).save_pretrained(source)
    params = convert.import_params(source, arch, tiny.mesh())
    made = tmp_path / "made"
    config_from = source if keep_config else None
    convert.export_params(made, arch, params, dtype=dtype, stop_ids=(3, 5), config_from=config_from)
    before, after = stored(source), stored(made)
    assert {name: (a.dtype, a.tobytes()) for name, a in before.items()} == {
        name: (a.dtype, a.tobytes()) for name, a in after.items()
    }
    (original, _), (loaded, info) = load(source), load(made)
    assert not any(info.values()), info
    assert loaded.config.eos_token_id == loaded.generation_config.eos_token_id == [3, 5]
    np.testing.assert_array_equal(
        reference_logits(loaded, tokens(arch)), reference_logits(original, tokens(arch)), strict=True
    )


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


@pytest.mark.parametrize("saved", ["tied", "odd"], indirect=True)
def test_greedy_tokens_equal_transformers_generate(saved):
    arch, model, folder = saved
    model.generation_config.eos_token_id = None
    prompts = [row[:length].tolist() for row, length in zip(tokens(arch, 3), (2, 7, 19), strict=True)]
    stop_ids = (reference_greedy(model, prompts[1], (), 24)[5],)  # so that a row stops early
    engine_config = EngineConfig(slots=4, chunk=8, prefill_rows=4, length_bucket=64)
    engine = Engine(arch, ModelConfig(compute_dtype="float32"), engine_config, tiny.mesh(), stop_ids, max_prompt=19)
    engine.load(convert.import_params(folder, arch, tiny.mesh()))
    requests = [Request(Prompt("", tuple(ids)), (0, 0, 0, i, 0, 0)) for i, ids in enumerate(prompts)]
    drawn = dict(engine.generate(requests, Sampling(temperature=1.0, top_p=1.0, top_k=1, response_budget=24)))
    expected = [reference_greedy(model, prompt, stop_ids, 24) for prompt in prompts]
    assert [drawn[i].tokens.tolist() for i in range(3)] == expected
    assert len(expected[1]) <= 6 < len(set(sum(expected, [])))  # one stopped early, and greedy is not one token


def test_missing_torch_skips_with_the_remedy_but_fails_in_ci(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match=r"pip install -e '\.\[parity\]'"):
        require_torch()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="torch is not installed"):
        require_torch()
