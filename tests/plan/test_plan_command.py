"""`lte plan` as a user calls it, and what it says beside what this CPU really holds."""

import json
import re
from dataclasses import replace

import jax
import plugin_package
import pytest
import tiny
from commands import QUICKSTART, lte

from lte_jax import config as settings
from lte_jax.device import sampler, update
from lte_jax.engine.shapes import round_up
from lte_jax.model_io.hf_config import config_files
from lte_jax.plan import targets
from lte_jax.plan.programs import Programs, Sizes, n_bytes
from lte_jax.plan.show import lines

SMALL = ["sample.response_budget=24", "engine.slots=8", "optim.microbatch_tokens=256", "mesh.tensor=2"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A folder with the tests' model's config.json, without weights."""
    folder = tmp_path_factory.mktemp("model")
    files = config_files(tiny.ARCH, [0], "float32", None)
    (folder / "config.json").write_text(json.dumps(files["config.json"]))
    return f"model.path={folder}"


@pytest.mark.slow
def test_the_plan_of_a_tiny_model_on_two_cpu_devices(model):
    features = "advantage.credits=[ace]"
    plan = json.loads(lte("plan", QUICKSTART, model, *SMALL, features, "--target", "cpu:2", "--json").stdout)
    assert plan["fits"] and plan["nearest"] is None and not plan["refused"] and plan["warnings"] == []
    assert plan["mesh"] == {"data": 1, "fsdp": 1, "tensor": 2} and plan["target"]["n_devices"] == 2
    update_phase, sample = plan["memory"]["phases"]["update"], plan["memory"]["phases"]["sample"]
    assert update_phase["gradients"] == update_phase["weights"]
    measuring = plan["memory"]["phases"]["measure"]  # which the reference is there for
    assert measuring["reference"] == measuring["weights"] and measuring["temporaries"] > 0
    assert 0 <= update_phase["optimiser"] - 2 * update_phase["weights"] < 100
    # float32 here: 3 layers, keys and values, 8 slots, 1 of 2 heads, columns, head size 6
    assert sample["cache"] == 3 * 2 * 8 * 1 * plan["sizes"]["columns"] * 6 * 4
    assert plan["memory"]["peak"] == max(plan["memory"]["totals"].values())
    step = plan["step"]
    assert step["tokens"] == 32 * 8 * 24 and step["collectives"]["all-reduce"]["times"] > 0
    assert step["seconds"] is None and plan["run"] is None  # a CPU's peak is not in the table
    heads = plan["divides"]["key/value heads over tensor"]
    assert heads == {"size": 2, "over": 2, "left": 0}
    text = "\n".join(lines(plan))
    assert "It fits." in text and "  query heads over tensor: 4 over 2\n" in text and "Peak" in text
    smaller = plan | {"fits": False, "nearest": plan | {"overrides": ["engine.slots=4"]}}
    assert "The nearest setting found that fits: engine.slots=4" in "\n".join(lines(smaller))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "v5e:7"], r"target 'v5e:7': a slice of TPU v5e has 2 axes .* such as v5e:8x8"),
        (["--target", "abacus:8"], r"target 'abacus:8' is not known; wanted .* v5e:8x8"),
        (["--target", "cpu:4", "mesh.tensor=4"], r"mesh.tensor = 4 does not divide vocab_size = 50"),
        (["--target", "cpu:2", "--length", "25"], r"--length 25: wanted 1 to sample.response_budget = 24"),
        (["--target", "cpu:2", "model.path=nowhere"], r"model.path = 'nowhere': wanted .* qwen3-4b"),
    ],
)
def test_what_cannot_be_planned_is_one_line(model, arguments, said):
    done = lte("plan", QUICKSTART, model, *SMALL, *arguments, check=False)
    assert done.returncode == 2 and done.stdout == ""
    error = [line for line in done.stderr.splitlines() if not line.startswith(("starting", "compiling"))]
    assert len(error) == 1 and re.search(said, error[0])


def test_the_planned_arrays_are_those_that_a_run_holds():
    config = settings.load(QUICKSTART, SMALL)
    mesh = tiny.mesh(fsdp=2, tensor=2)
    programs = Programs(config, tiny.ARCH, mesh, mesh)
    state = update.initial_state(programs.update_spec, tiny.params())
    slots = sampler.empty_slots(programs.sizes.slots, programs.sizes.columns, programs.spec)
    real = {
        "weights": state.params,
        "optimiser": state.opt_state,
        "gradients": update.zero_sums(programs.update_spec)[0],
        "copy": sampler.sampler_weights(state.params, programs.spec),
        "cache": slots.cache,
        "rows": slots._replace(cache=[]),
    }
    planned = {name: n_bytes(programs.arrays[name]) for name in real}
    assert planned == {name: held_by_one_device(tree) for name, tree in real.items()}


def test_a_strategy_that_continues_responses_prefills_longer_rows(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(plugin_package.write(tmp_path / "elsewhere"))
    config, mesh = settings.load(QUICKSTART, SMALL), tiny.mesh()
    forking = settings.load(QUICKSTART, [*SMALL, "explore.strategy=someones_methods:Again"])
    plain, longer = Sizes.of(config, mesh, mesh), Sizes.of(forking, mesh, mesh)
    n = round_up(config.sample.response_budget, config.engine.length_bucket)
    assert longer == replace(plain, prompt_columns=plain.columns) and plain.prompt_columns + n == plain.columns


def held_by_one_device(tree) -> int:
    return sum(array.addressable_shards[0].data.nbytes for array in jax.tree.leaves(tree))


@pytest.mark.slow
def test_a_plan_for_a_tpu_slice(model):
    try:
        targets.compiler_folder("tpu")
    except targets.TargetError as error:
        pytest.skip(str(error))
    few = ["mesh.tensor=1", "mesh.fsdp=4", "mesh.data=4", "model.compute_dtype=bfloat16"]
    command = ["plan", QUICKSTART, model, *SMALL, *few, "--target", "v5e:4x4", "--json", "--price", "2"]
    plan = json.loads(lte(*command).stdout)
    assert plan["fits"] and plan["target"]["n_processes"] == 4
    assert plan["process_mesh"] == {"data": 4, "fsdp": 1, "tensor": 1}
    run, step = plan["run"], plan["step"]
    assert run["cost"] == pytest.approx(2 * 16 * run["hours"]) and run["tokens_per_s"] > 0
    assert step["seconds"] == pytest.approx(sum(one["seconds"] for one in step["programs"].values()))
    refused = json.loads(lte(*command, "engine.slots=100000000", "--no-search").stdout)
    assert not refused["fits"] and "decode" in refused["refused"] and refused["step"] is None
    assert refused["memory"]["peak"] > refused["target"]["limit"]
