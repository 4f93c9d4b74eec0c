"""What was compiled ahead is not compiled again."""

from contextlib import contextmanager

import jax
import numpy as np
import pytest
import tiny
from handmade import group, right, wrong

from lte_jax.config import build
from lte_jax.device.features import FeatureSpec
from lte_jax.device.regularisers import scalars
from lte_jax.device.update import UpdateSpec, initial_state, reference_weights, score, update
from lte_jax.engine.boundary import pack
from lte_jax.engine.compile_ahead import (
    compile_programs,
    feature_programs,
    sampling_programs,
    scoring_programs,
    update_programs,
)
from lte_jax.engine.measure import with_features
from lte_jax.engine.rollout import TRAIN, Engine
from lte_jax.engine.shapes import UpdateShapes
from lte_jax.records import Given, Kind, Prompt, Request, Sampling

CONFIG = build(
    {
        "model": {"compute_dtype": "float32", "attention": "xla", "remat": "none", "scan_layers": False},
        "engine": {"slots": 4, "chunk": 3, "length_bucket": 8, "prefill_rows": 2},
        "optim": {"length_bucket": 16, "microbatch_tokens": 64, "problems_per_update": 1, "lr": 1.1e-3},
        "prompt": {"budget": 8, "hinted_budget": 16},
        "sample": {"response_budget": 24},
        "loss": {"old_logp": "trainer", "kl": "k3", "regularisers": ["lp_reg"]},
    }
)
HEAVY = ("prefill", "decode", "measure", "old_", "trained_logp", "accumulate", "apply")
SAMPLING = Sampling(1.0, 1.0, 0, 24)


@contextmanager
def compiled():
    """Names of the programs that are compiled meanwhile, or taken from the persistent cache."""
    names = []

    def listen(event, seconds, **about):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(about.get("fun_name", "?"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.slow
def test_sampling_and_updates_find_their_programs_compiled():
    spec = UpdateSpec(tiny.ARCH, CONFIG.model, CONFIG.loss, CONFIG.optim, 10, tiny.mesh())
    state = initial_state(spec, tiny.params())
    engine = Engine(tiny.ARCH, CONFIG.model, CONFIG.engine, tiny.mesh(), [3, 9], 16)
    engine.load(state.params)
    shown = []
    reference = reference_weights(state.params, spec)
    measured = FeatureSpec(spec, ("mean_entropy", "mean_hidden"))
    programs = [
        *sampling_programs(engine, SAMPLING, forks=True),
        *update_programs(CONFIG, state, spec),
        *scoring_programs(CONFIG, state, reference, spec),
        *feature_programs(CONFIG, state, None, measured),
    ]
    compile_programs(programs, shown.append)
    assert len(shown) == len(programs) and shown[0].startswith(f"1 of {len(programs)}: prefill")
    requests = [Request(Prompt("", tuple(range(5, 8 + n))), (7, TRAIN, 0, n, 0, 0)) for n in range(9)]
    given = Given.written(tuple(range(10, 32)), Kind.UNTRAINED)
    requests.append(Request(Prompt("", tuple(range(5, 20))), (7, TRAIN, 0, 9, 0, 0), given))
    groups = [group(*(right(tokens=[4] * n) for n in range(2, 20)), wrong(), advantages=[1.0] * 19)]
    with compiled() as names:
        assert len(list(engine.generate(requests, SAMPLING))) == 10
        packed = pack(groups, CONFIG, tiny.mesh())
        with_features(groups, state.params, None, CONFIG, measured)
        microbatches = score(state.params, reference, packed.microbatches, np.float32(1), spec)
        update(state, microbatches, np.float32(1), np.float32(0), spec, scalars(CONFIG.loss))
    heavy = {name for name in names if any(part in name for part in HEAVY)}
    assert len(packed.microbatches) > 2 and not heavy, names


def test_every_micro_batch_has_a_size_of_the_list():
    sizes = set(UpdateShapes.of(CONFIG, shards=4).all)
    for n_rows in (1, 3, 7, 20):
        rows = [right(tokens=[4] * (1 + n % 24)) for n in range(n_rows)]
        packed = pack([group(*rows, advantages=[1.0] * n_rows)], CONFIG, tiny.mesh(2, 2, 1))
        assert {micro.tokens_BT.shape for micro in packed.microbatches} <= sizes
