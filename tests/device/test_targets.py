"""Every device program, compiled for TPU slices and for an H200 by their own compilers, without the device."""

import json
import math
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import jax
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
KINDS = {"v5p:2x2x1": "tpu", "h200": "cuda", "v5e:2x4": "tpu"}
WHOLE = ("v5p:2x2x1", "h200")
# of v5e:2x4 only these: tests/plan/test_compiled.py holds its other programs, in bytes
FURTHER = ("decode_experts", "reference_weights", "old_logp", "trained_logp")
LAYERS, DECODED_LAYERS = 2, 4


@pytest.fixture(scope="module", params=WHOLE)
def compiled(request) -> dict[str, dict]:
    return said_of(request.param)


@pytest.fixture(scope="module", params=KINDS)
def further(request) -> dict[str, dict]:
    return said_of(request.param)


@cache
def said_of(name: str) -> dict[str, dict]:
    """What the compiler said of each program, by name; `target` describes the slice."""
    kind = KINDS[name]
    folder = ROOT / ".targets" / f"{kind}-{jax.__version__}"
    if not folder.exists():
        missing = f"no compiler for {name}: bash launch/targets.sh {kind}"
        assert not (kind == "tpu" and os.environ.get("CI") == "true"), missing
        pytest.skip(missing)
    libraries = os.pathsep.join(map(str, folder.glob("nvidia/*/lib")))
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "LD_LIBRARY_PATH": libraries}
    environment.pop("XLA_FLAGS", None)
    script = str(Path(__file__).with_name("compile_for.py"))
    command = [sys.executable, script, name, *(() if name in WHOLE else FURTHER)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Involuntary full rematerialization" not in done.stderr
    target, *programs = map(json.loads, done.stdout.splitlines())
    return {"target": target, **{row["program"]: row for row in programs}}


def counts(row: dict) -> dict[str, int]:
    return {name: row[name] for name in ("all-gather", "reduce-scatter", "all-to-all", "collective-permute")}


def test_decoding_copies_no_cache_and_talks_as_much_as_the_sharding_needs(compiled):
    row, target = compiled["decode_chunk"], compiled["target"]
    assert row["alias"] >= target["cache"]  # the cache is updated in place
    # on a TPU, query, key and value weights in the layout that their products want: 6 MiB a layer
    assert row["temp"] < 0.05 * target["cache"]
    # two sums over tensor a layer; the rest looks the token up and draws the next one from a vocabulary that is split,
    # two of them in the branch that anneals, which otherwise does not run
    assert row["all-reduce"] <= (2 * DECODED_LAYERS + 18 if target["chips"] > 1 else 0)
    assert sum(counts(row).values()) <= (1 if target["chips"] > 1 else 0)


def test_decoding_with_experts_gathers_router_logits_and_no_weights(further):
    row, target = further["decode_experts"], further["target"]
    if target["target"] == "h200":  # no ragged kernel there: every row by every expert under a mask
        assert row["temp"] < 400
        return
    assert row["temp"] < 120  # MiB; one expert weight of a layer alone is 192 on each device
    assert row["all-reduce"] <= 2 * LAYERS + 18
    assert sum(counts(row).values()) <= LAYERS + 1


def test_prefill_gathers_no_weights_and_inserting_is_in_place(compiled):
    row, target = compiled["prefill"], compiled["target"]
    assert row["all-reduce"] <= (2 * LAYERS if target["chips"] > 1 else 0) and not sum(counts(row).values())
    assert compiled["insert_layer"]["alias"] >= target["cache"] / DECODED_LAYERS
    assert not sum(counts(compiled["insert_layer"]).values())


def test_the_weight_copy_only_gathers(compiled):
    row = compiled["sampler_weights"]
    assert counts(row) == {**counts(row), "reduce-scatter": 0, "all-to-all": 0, "collective-permute": 0}
    assert row["all-reduce"] == 0


def test_no_gradient_and_no_optimiser_state_is_replicated(compiled):
    masters = compiled["target"]["masters"]
    update, step = compiled["accumulate"], compiled["apply"]
    assert update["output"] < 1.01 * masters and update["alias"] > 0.99 * masters  # summed gradients, in place
    assert step["argument"] < 1.01 * 4 * masters and step["alias"] > 0.99 * 3 * masters  # weights, two moments
    assert step["temp"] < 0.1 * masters


def holds_no_whole_logits(said: dict[str, dict], program: str) -> bool:
    rows, columns, vocab_size = 16, 1024, 151936
    return math.prod(said[program]["largest"]) < rows * columns * vocab_size / said["target"]["chips"] / 2


def test_logits_of_a_whole_batch_never_exist_in_an_update(compiled):
    assert holds_no_whole_logits(compiled, "accumulate")


@pytest.mark.parametrize("program", ["old_logp", "trained_logp"])
def test_logits_of_a_whole_batch_never_exist_in_scoring(further, program):
    assert holds_no_whole_logits(further, program)


def test_the_reference_is_half_the_masters_and_stays_sharded(further):
    masters, copied = further["target"]["masters"], further["reference_weights"]
    assert 0.49 * masters < copied["output"] < 0.51 * masters
    assert not any(copied[name] for name in ("all-gather", "all-reduce", "all-to-all", "collective-permute"))
