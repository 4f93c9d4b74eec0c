"""Against transformers, on random weights: logits, greedy tokens, and folders that go back and forth unchanged."""

import sys
from pathlib import Path

import jax
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
    require_torch,
    tokens,
    torch,
)
from safetensors.numpy import load_file

from lte_jax.device.weights import Architecture
from lte_jax.model_io import convert
from lte_jax.model_io.hf_config import HfConfig, read_config

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
    largest = np.abs(reference).max()
    assert largest > 2  # logits large enough to differ
    scale = largest * condition(model, lambda its: [reference_logits(its, tokens(arch))])
    np.testing.assert_allclose(ours, reference, rtol=0, atol=rounding.bound(rounding.longest(arch, 37), scale))


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


@pytest.mark.parametrize("saved", ["tied", "odd"], indirect=True)
def test_greedy_tokens_equal_transformers_generate(saved):
    arch, model, folder = saved
    model.generation_config.eos_token_id = None
    prompts = [row[:length].tolist() for row, length in zip(tokens(arch, 3), (2, 7, 19), strict=True)]
    stop_ids = (reference_greedy(model, prompts[1], (), 24)[5],)  # so that a row stops early
    drawn = greedy(arch, convert.import_params(folder, arch, tiny.mesh()), prompts, stop_ids, 24)
    expected = [reference_greedy(model, prompt, stop_ids, 24) for prompt in prompts]
    assert drawn == expected
    assert len(expected[1]) <= 6 < len(set(sum(expected, [])))  # one stopped early, and greedy is not one token


def test_missing_torch_skips_with_the_remedy_but_fails_in_ci(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match=r"pip install -e '\.\[parity\]'"):
        require_torch()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="torch is not installed"):
        require_torch()
