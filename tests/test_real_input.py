"""A run on real problems with a Hugging Face folder: imported, trained, evaluated, exported, loaded by transformers.

The weights are random and the tokenizer is made here; the problems are real where ../shared holds them, else three rows
written below, so the path is walked on every machine.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import jax
import pytest
from byte_level import write_hf
from commands import ROOT, lte, python

from lte_jax.storage.run_files import read_metrics, read_rollouts

BENCHMARKS = ROOT.parent / "shared/benchmarks"
CONFIG = ROOT / "configs/qwen3-4b-lte.yaml"
# The paper's config on a machine without memory: everything else stays as it is.
SMALL = """
steps=2 problems_per_step=4 sample.group_size=2 sample.response_budget=12 optim.problems_per_update=2 engine.slots=8
engine.chunk=6 engine.length_bucket=64 optim.length_bucket=64 optim.microbatch_tokens=4096 verify.workers=1
eval.benchmarks=[] eval.every=0 model.compute_dtype=float32 model.remat=none
""".split()
WRITTEN = [
    {"problem": "What is $\\frac{1}{2} + \\frac{1}{3}$?", "answer": "\\frac{5}{6}"},
    {"problem": "Natalia sold 48 clips in April and half as many in May. How many altogether?", "answer": "72"},
    {"problem": "Factor $x^2 - 1$.", "answer": "(x-1)(x+1)"},
    {"problem": "Where does $y = 2x$ meet $x = 3$?", "answer": "(3, 6)"},
]


def rows(name: str, folder: Path, n: int) -> Path:
    """The first rows of a benchmark file that fit the budget, or the written ones."""
    source = BENCHMARKS / f"{name}.jsonl"
    found = [json.loads(line) for line in source.read_text().splitlines()] if source.is_file() else WRITTEN
    short = [row for row in found if len(row["problem"]) < 400][:n]
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in short))
    return path


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory) -> Path:
    """A Hugging Face folder: Qwen3 of odd sizes with random weights and a byte-level BPE tokenizer."""
    folder = tmp_path_factory.mktemp("hf") / "Qwen3-random"
    python(
        "import jax; from pathlib import Path; from lte_jax.model_io import convert; from lte_jax.device import qwen3\n"
        "from lte_jax.device.weights import Architecture\n"
        "arch = Architecture(320, 24, 40, 2, 4, 2, 8, 1e6, 1e-6, False)\n"
        f"convert.export_params(Path({str(folder)!r}), arch, qwen3.initial_params(arch, jax.random.key(0)),"
        " dtype='bfloat16', stop_ids=(0,))"
    )
    return write_hf(folder)


def test_real_problems_run_from_import_to_export(qwen3, tmp_path):
    train, held_out = rows("train_sample", tmp_path, 12), rows("math500", tmp_path, 4)
    n_train = len(train.read_text().splitlines())
    imported, run, exported = tmp_path / "imported", tmp_path / "run", tmp_path / "exported"
    lte("import-hf", qwen3, imported)
    done = lte("train", CONFIG, f"model.path={imported}", f"data.train={train}", *SMALL, "--run", run)
    assert "stop ids: " in done.stdout and "<|endoftext|>" in done.stdout and "<|im_end|>" in done.stdout
    assert [row["step"] for row in read_metrics(run)] == [0, 1]
    groups = list(read_rollouts(run))
    assert len(groups) == 8 and all(group["problem"] in group["prompt"] for group in groups)

    output = tmp_path / "evaluation"
    small = ["sample.response_budget=8", "eval.samples=2", "eval.k=[2]", "engine.slots=8"]
    done = lte("eval", run, *small, "--benchmarks", held_out, train, "--json", "--output", output)
    found = json.loads(done.stdout)["benchmarks"]  # one object and nothing else
    assert {name: values["n_problems"] for name, values in found.items()} == {"math500": 4, "train_sample": n_train}
    assert len((output / "problems.jsonl").read_text().split("\n")) == 4 + n_train + 1
    assert 0 <= found["math500"]["pass_at_1"] <= found["math500"]["pass_at_2"] <= 1

    lte("export-hf", run, exported, "--dtype", "float32")
    asked = ["generate", exported, "sample.response_budget=4", "engine.slots=4", "--prompt", "What is 1 + 1?"]
    text, again = (lte(*asked).stdout for _ in range(2))
    assert text == again and text.endswith("\n")
    assert {"config.json", "generation_config.json", "tokenizer.json"} <= {path.name for path in exported.iterdir()}
    _transformers_agrees(exported)


def _transformers_agrees(folder: Path) -> None:
    """Our logits of an exported folder equal transformers', where torch is there to run it (CI; see test_parity.py)."""
    if find_spec("torch") is None:
        return
    import jax.numpy as jnp
    import numpy as np
    import rounding
    import tiny
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lte_jax.device import qwen3
    from lte_jax.model_io import convert
    from lte_jax.model_io.hf_config import read_config

    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    ids = np.array([AutoTokenizer.from_pretrained(folder)("Let x be a real number")["input_ids"]])
    with torch.no_grad():
        theirs = model(torch.tensor(ids)).logits.numpy()
    arch = read_config(folder).arch
    bound = qwen3.bind(arch, convert.import_params(folder, arch, tiny.mesh()))
    ours = jax.jit(lambda tokens: qwen3.logits(bound(tokens, dtype=jnp.float32), bound.head_VD))(ids)
    assert np.abs(ours - theirs).max() < rounding.bound(rounding.forward(arch, ids.size), np.abs(theirs).max())
