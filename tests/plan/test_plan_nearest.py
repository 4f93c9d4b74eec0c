"""The search for the nearest setting that fits, with a made-up compiler."""

from dataclasses import replace

import pytest

from lte_jax.config import build
from lte_jax.plan import memory
from lte_jax.plan.memory import Measured
from lte_jax.plan.nearest import nearest, overrides

CONFIG = build({"engine": {"slots": 64}, "optim": {"microbatch_tokens": 8000}, "model": {"remat": "dots"}})
WEIGHTS, COPY, COLUMNS = 10, 80, 1000  # bytes of one of 8 devices; the copy before it is split over tensor


def sizes_of(config, kv_heads: int = 4) -> Measured | None:
    """Arrays on 8 devices: a slot's cache takes 8 bytes, a row of a micro-batch has 1000 columns."""
    tensor = config.mesh.tensor
    if kv_heads % tensor:
        return None
    shards = 8 // tensor
    mesh = {"data": 1, "fsdp": shards, "tensor": tensor}
    slots = shards * max(1, config.engine.slots // shards)
    rows = shards * config.optim.rows_per_shard(COLUMNS, shards)
    arrays = {
        "weights": WEIGHTS,
        "optimiser": 2 * WEIGHTS,
        "reference": 0,
        "gradients": WEIGHTS,
        "copy": COPY // tensor,
        "cache": 8 * slots // shards // tensor,
        "prefix": 1,
    }
    sizes = {"slots": slots, "rows": rows, "row_columns": COLUMNS, "prompts": 1}
    return Measured(mesh, mesh, sizes, arrays)


class Compiler:
    """Remembers what it was asked. A row of a micro-batch takes `row` bytes, half with remat=full."""

    def __init__(self, row: int = 10):
        self.row, self.asked = row, []

    def __call__(self, config) -> Measured:
        self.asked.append(config)
        sized = sizes_of(config)
        rows = sized.sizes["rows"] // sized.shards("mesh")
        per_row = self.row // (2 if config.model.remat == "full" else 1) // sized.mesh["tensor"]
        none = dict(temporaries=0, outputs=0, aliased=0)
        programs = dict.fromkeys(memory.PROGRAMS, none) | {"accumulate": {**none, "temporaries": rows * per_row}}
        return replace(sized, programs=programs)


def found(limit: int, compiler=None, config=CONFIG):
    compiler = compiler or Compiler()
    result = nearest(config, compiler(config), limit, sizes_of, compiler)
    return result and (overrides(config, result[0]), max(memory.totals(result[1]).values()))


def test_slots_are_cut_to_what_fits_and_no_further():
    # 30 of weights, 80 of the copy, 2 of prompts: 40 bytes are left for 8 bytes a slot and device
    assert found(152) == (["engine.slots=40"], 152)


def test_the_mesh_is_changed_before_few_slots_are_left():
    # 6 bytes are left beside a whole copy; over two devices 46, and a slot and device takes 4
    assert found(118) == (["engine.slots=44", "mesh.tensor=2"], 116)


def test_micro_batches_are_halved_then_more_is_recomputed_then_the_mesh_changes():
    wide = build({"engine": {"slots": 8}, "optim": {"microbatch_tokens": 32000}, "model": {"remat": "dots"}})
    # 40 bytes of weights and gradients; four rows a device at first, one at last
    assert found(130, Compiler(row=40), wide)[0] == ["optim.microbatch_tokens=16000"]
    assert found(130, Compiler(row=90), wide)[0] == ["optim.microbatch_tokens=8000"]
    assert found(130, Compiler(row=150), wide)[0] == ["optim.microbatch_tokens=8000", "model.remat=full"]
    # over four shards instead of eight, one row each is half as many tokens
    deep = ["optim.microbatch_tokens=4000", "model.remat=full", "mesh.tensor=2"]
    assert found(130, Compiler(row=300), wide)[0] == deep


def test_nothing_is_found_where_the_weights_alone_are_too_large():
    assert found(39) is None


def test_a_setting_that_the_compiler_finds_too_large_after_all_is_not_proposed():
    class Surprising(Compiler):
        def __call__(self, config):
            made = super().__call__(config)
            if len(self.asked) > 1:  # each proposal takes more than predicted
                made.programs["accumulate"] = dict(temporaries=1000, outputs=0, aliased=0)
            return made

    compiler = Surprising()
    assert found(152, compiler) is None and 1 < len(compiler.asked) <= 5


@pytest.mark.parametrize(
    ("said", "n_bytes"),
    [
        ("the total memory required for HLO temporaries (21.82G) exceeds available HBM (15.75G).", 21.82 * 2**30),
        ("Ran out of memory in memory space hbm. Used 412.50M of 15.75G hbm.", 412.5 * 2**20),
    ],
)
def test_what_a_refused_program_needs_is_read_from_the_refusal(said, n_bytes):
    assert memory.required(said) == pytest.approx(n_bytes, rel=1e-6)


def test_a_refusal_without_a_figure_is_not_guessed():
    with pytest.raises(ValueError, match="does not say how much"):
        memory.required("RESOURCE_EXHAUSTED: no")
