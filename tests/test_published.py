"""Every published size by its config: parameter counts, and exactly the tensors that transformers' model has."""

import json
import math

import pytest
import tiny
from published import MODELS

from lte_jax.device import mesh, weights
from lte_jax.model_io import convert
from lte_jax.model_io.hf_config import read_config
from lte_jax.plan.models import SHAPES


def architecture(folder, name):
    (folder / "config.json").write_text(json.dumps(MODELS[name][0]))
    return read_config(folder).arch


@pytest.mark.parametrize("name", MODELS)
def test_the_table_counts_the_published_parameters(tmp_path, name):
    arch = architecture(tmp_path, name)
    abstract = mesh.abstract_params(arch, tiny.mesh(1, 4, 2))
    n_abstract = sum(math.prod(weights.leaf(abstract, path).shape) for path in weights.table(arch))
    assert n_abstract == weights.n_params(arch) == MODELS[name][1]


@pytest.mark.parametrize("name", MODELS)
def test_the_table_holds_exactly_the_tensors_of_transformers(tmp_path, name):
    from reference import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    arch = architecture(tmp_path, name)
    ours = {tensor.name: convert._hf_shape(tensor.row, arch) for tensor in convert._hf_tensors(arch)}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path, local_files_only=True))
    theirs = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if arch.tied:
        del theirs["lm_head.weight"]  # the same tensor as the embedding; not saved
    for layer in range(arch.n_layers if arch.experts else 0):  # fused in memory, apart on disk (test_variants.py)
        prefix = f"model.layers.{layer}.mlp.experts."
        n, width, d_model = theirs.pop(prefix + "gate_up_proj")
        assert theirs.pop(prefix + "down_proj") == (n, d_model, width // 2)
        for expert in range(n):
            theirs |= {f"{prefix}{expert}.{part}_proj.weight": (width // 2, d_model) for part in ("gate", "up")}
            theirs[f"{prefix}{expert}.down_proj.weight"] = (d_model, width // 2)
    assert ours == theirs


@pytest.mark.parametrize("name", [name for name in MODELS if name.lower() in SHAPES])
def test_a_plan_knows_the_published_shapes(tmp_path, name):
    assert SHAPES[name.lower()] == architecture(tmp_path, name)


def test_every_shape_of_a_plan_is_a_published_one():
    assert SHAPES.keys() <= {name.lower() for name in MODELS}
