"""What ended a response in training ends it in transformers after an export."""

import json

import pytest
import tiny
from byte_level import TEMPLATE, write_hf
from reference import greedy, load, torch

from lte_jax.config import ConfigError, MeshConfig
from lte_jax.device.mesh import make_mesh
from lte_jax.device.weights import Architecture
from lte_jax.host.tokenizers.tokenizer import open_tokenizer
from lte_jax.model_io import convert
from lte_jax.model_io.checkpoint import export_hf, import_hf, open_model, stopping_ids

ARCH = Architecture(312, 16, 24, 2, 2, 2, 8, 1e6, 1e-6, tied=True)
END, TURN_END, THINK_END = 300, 302, 304  # <|endoftext|>, <|im_end|>, </think>
PROMPT, N = (65, 66, 67, 68, 69), 12


def write_base(folder, token, becomes):
    """A base model as published: its files name <|endoftext|> alone, its chat template ends a turn with <|im_end|>.
    Two tokens of the vocabulary have changed places."""
    params = tiny.params(ARCH, seed=3)
    rows = params["embed"]
    params["embed"] = rows.at[token].set(rows[becomes]).at[becomes].set(rows[token])
    convert.export_params(folder, ARCH, params, stop_ids=(END,), dtype="float32", finish=write_hf)
    return params


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder whose greedy response holds <|im_end|> in its midst."""
    free = greedy(ARCH, tiny.params(ARCH, seed=3), [PROMPT], (), N)[0]
    place = next(i for i in range(3, N) if free[i] not in (*free[:i], *PROMPT))
    folder = tmp_path_factory.mktemp("base") / "model"
    params = write_base(folder, free[place], TURN_END)
    return folder, params, place + 1


def generated(folder):
    """As transformers' own generation_config stops it."""
    model, _ = load(folder)
    ids = torch.tensor([PROMPT])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=N, pad_token_id=END)
    return out[0, len(PROMPT) :].tolist()


def eos(folder, file="generation_config.json"):
    return json.loads((folder / file).read_text())["eos_token_id"]


def test_transformers_stops_where_training_stopped(base, tmp_path):
    folder, params, n = base
    model = open_model(folder, make_mesh(MeshConfig()))
    stops = stopping_ids(model, open_tokenizer(folder))
    assert stops == [END, TURN_END]
    ours = greedy(ARCH, params, [PROMPT], stops, N)[0]
    assert len(ours) == n and ours[-1] == TURN_END
    export_hf(folder, tmp_path / "exported", "float32")
    assert generated(tmp_path / "exported") == ours
    assert len(generated(folder)) > n  # the base's own files let it run on
    for file in ("config.json", "generation_config.json"):
        assert eos(tmp_path / "exported", file) == [END, TURN_END]


def test_a_run_that_used_a_template_of_its_own_exports_that_ones_end(base, tmp_path):
    run, template = tmp_path / "run", tmp_path / "own.jinja"
    import_hf(base[0], run)
    template.write_text(TEMPLATE.replace("<|im_end|>", "</think>"))
    (run / "config.yaml").write_text(f"prompt: {{template: file, file: {template}}}\nsample: {{stop_strings: [END]}}")
    lines = []
    export_hf(run, tmp_path / "exported", "float32", lines.append)
    assert len(lines) == 1 and "generate(stop_strings=['END'])" in lines[0]
    assert eos(tmp_path / "exported") == eos(tmp_path / "exported", "config.json") == [END, THINK_END]
    template.unlink()
    with pytest.raises(ConfigError, match="own.jinja: cannot read the template"):
        export_hf(run, tmp_path / "again", "float32")
