"""Import and export without torch: folders of our own and hand-made faults in them."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import jax
import ml_dtypes
import numpy as np
import pytest
import tiny
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from lte_jax.device import weights
from lte_jax.device.weights import Architecture, Experts, Yarn
from lte_jax.model_io import convert
from lte_jax.model_io.hf_config import ConvertError, HfConfig, read_config

# Spellings of the same numbers; what transformers writes beside them is left out where nothing reads it.
SIZES = {
    "model_type": "qwen3",
    "vocab_size": 50,
    "hidden_size": 12,
    "intermediate_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "rms_norm_eps": 1e-3,
    "tie_word_embeddings": True,
    "eos_token_id": 7,
}
EXPERTS = replace(tiny.UNTIED, experts=Experts(n=6, n_active=2, normed=True))
YARN = {"factor": 4.0, "original_max_position_embeddings": 4096}
V4 = SIZES | {"rope_theta": 30000, "rope_scaling": None, "torch_dtype": "float32", "sliding_window": None}
V5 = SIZES | {"rope_parameters": {"rope_type": "default", "rope_theta": 30000.0}, "dtype": "float32"}


def write(folder, config, generation=None):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


def export(folder, arch=tiny.ARCH, params=None, **options):
    options = {"stop_ids": (7,), "dtype": "float32"} | options
    convert.export_params(folder, arch, tiny.params(arch) if params is None else params, **options)
    return folder


def tensors(folder):
    return {name: array for file in folder.glob("*.safetensors") for name, array in load_file(file).items()}


def assert_bitwise_equal(a, b):
    """Names, dtypes and every bit: -0.0 is not 0.0 here."""
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape), name
        assert a[name].tobytes() == b[name].tobytes(), name


def edit_tensors(folder, change):
    stored = tensors(folder)
    change(stored)
    save_file(stored, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("config", [V4, V5], ids=["v4", "v5"])
def test_config_spellings_of_versions_4_and_5_give_the_same_architecture(tmp_path, config):
    assert read_config(write(tmp_path, config)) == HfConfig(tiny.ARCH, (7,))


@pytest.mark.parametrize(
    "config",
    [
        V4 | {"rope_scaling": {"type": "yarn", **YARN}},
        V4 | {"rope_scaling": {"rope_type": "yarn", "factor": 4}, "max_position_embeddings": 4096},
        V5 | {"rope_parameters": {"rope_type": "yarn", "rope_theta": 3e4, **YARN}},
        V5 | {"rope_parameters": {"rope_type": "yarn", "rope_theta": 3e4, "beta_fast": None, **YARN}},
    ],
    ids=["v4", "v4 without length", "v5", "v5 with null"],
)
def test_yarn_is_read_in_both_spellings_with_its_defaults(tmp_path, config):
    found = read_config(write(tmp_path, config)).arch
    yarn = Yarn(4.0, 4096, beta_fast=32.0, beta_slow=1.0, attention_factor=0.1 * math.log(4) + 1, truncate=True)
    assert found == replace(tiny.ARCH, yarn=yarn)


def test_yarns_attention_factor_is_given_or_follows_from_mscale(tmp_path):
    def factor(**given):
        rope = {"rope_type": "yarn", "rope_theta": 3e4, **YARN, **given}
        return read_config(write(tmp_path, V5 | {"rope_parameters": rope})).arch.yarn.attention_factor

    assert factor(attention_factor=1.5) == 1.5
    assert factor(mscale=1.0, mscale_all_dim=1.0) == 1.0
    assert factor(mscale=2.0, mscale_all_dim=1.0) == pytest.approx((0.2 * math.log(4) + 1) / (0.1 * math.log(4) + 1))


@pytest.mark.parametrize(
    "arch",
    [
        replace(tiny.ARCH, qk_norm=False),
        EXPERTS,
        replace(EXPERTS, experts=Experts(n=6, n_active=3, normed=False)),
        replace(tiny.ARCH, yarn=Yarn(2.0, 512, 24.0, 0.5, 1.25, False)),
    ],
    ids=["qwen2", "experts", "experts not normed", "yarn"],
)
def test_a_written_config_describes_the_architecture_again(tmp_path, arch):
    positions = 2 * 512 if arch.yarn else 32768
    assert read_config(export(tmp_path / "model", arch)) == HfConfig(arch, (7,), positions)


@pytest.mark.parametrize(
    ("change", "positions"),
    [
        ({}, 32768),  # the default of transformers' config classes
        ({"max_position_embeddings": 4096}, 4096),
        ({"max_position_embeddings": 40960, "rope_scaling": {"type": "yarn", **YARN}}, 4 * 4096),
        ({"max_position_embeddings": 512, "rope_scaling": {"type": "yarn", "factor": 2.5}}, 1280),
    ],
)
def test_positions_are_counted_with_yarns_factor(tmp_path, change, positions):
    assert read_config(write(tmp_path, V4 | change)).max_positions == positions


def test_head_dim_and_tying_have_defaults(tmp_path):
    config = {key: value for key, value in V5.items() if key not in ("head_dim", "tie_word_embeddings")}
    arch = read_config(write(tmp_path, config | {"hidden_size": 40})).arch
    assert (arch.d_head, arch.tied) == (10, False)


def test_stop_ids_are_the_union_and_nothing_else_is_read_from_the_generation_config(tmp_path):
    write(tmp_path, V5 | {"eos_token_id": [9, 7]}, {"eos_token_id": 3, "temperature": "not a number", "top_p": []})
    assert read_config(tmp_path) == HfConfig(tiny.ARCH, (3, 7, 9))
    write(tmp_path, V5 | {"eos_token_id": None}, {"temperature": 0.6})
    assert read_config(tmp_path).stop_ids == ()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "llama"}, "model_type = 'llama'"),
        ({"model_type": "qwen2_moe"}, "model_type = 'qwen2_moe'"),
        ({"model_type": "qwen3_moe", "decoder_sparse_step": 2}, "decoder_sparse_step = 2"),
        ({"model_type": "qwen3_moe", "mlp_only_layers": [0]}, "mlp_only_layers = [0]"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"attention_bias": True}, "attention_bias = True"),
        ({"use_sliding_window": True, "sliding_window": 64}, "use_sliding_window = True"),
        ({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "sliding_attention"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e6, "factor": 4.0}}, "rope_type = 'dynamic'"),
        ({"rope_parameters": None, "rope_theta": 1e6, "rope_scaling": {"type": "linear", "factor": 2.0}}, "'linear'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config"),
    ],
)
def test_what_the_model_cannot_compute_is_refused_with_what_it_can(tmp_path, change, named):
    with pytest.raises(ConvertError, match="supported now is Qwen3 dense, Qwen3 MoE") as error:
        read_config(write(tmp_path, V5 | change))
    assert named in str(error.value) and "config.json" in str(error.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_size": None}, "hidden_size = None"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0"),
        ({"rope_parameters": {"rope_type": "default"}}, "rope_theta = None"),
        ({"rms_norm_eps": "1e-6"}, "rms_norm_eps = '1e-6'"),
        ({"num_key_value_heads": 3}, "3 key/value heads"),
        ({"eos_token_id": ["</s>"]}, "eos_token_id"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}}, "factor = None"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 2}}, "max_position_embeddings = None"),
        ({"model_type": "qwen3_moe", "moe_intermediate_size": 9}, "num_experts = None"),
        (
            {"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 5},
            "num_experts_per_tok = 5: wanted at most num_experts = 4",
        ),
    ],
)
def test_a_malformed_config_is_refused_by_key(tmp_path, change, named):
    with pytest.raises(ConvertError, match=named.replace("(", r"\(")):
        read_config(write(tmp_path, V5 | change))


def test_missing_and_broken_json_name_the_file(tmp_path):
    with pytest.raises(ConvertError, match="nowhere/config.json: cannot be read"):
        read_config(tmp_path / "nowhere")
    write(tmp_path, V5)
    (tmp_path / "config.json").write_text('{"model_type": "qwen3",')
    with pytest.raises(ConvertError, match="config.json: not JSON"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ConvertError, match="wanted a JSON object"):
        read_config(tmp_path)


@pytest.mark.parametrize("arch", [tiny.ARCH, tiny.UNTIED], ids=["tied", "untied"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("max_shard_bytes", [5_000_000_000, 2000], ids=["one", "many"])
def test_import_then_export_is_bitwise(tmp_path, arch, dtype, max_shard_bytes):
    first = export(tmp_path / "first", arch, dtype=dtype, max_shard_bytes=max_shard_bytes)
    assert (len(list(first.glob("*.safetensors"))) > 3) == (max_shard_bytes == 2000)
    assert ("lm_head.weight" in tensors(first)) == (not arch.tied)
    hf = read_config(first)
    assert hf == HfConfig(arch, (7,))
    params = convert.import_params(first, hf.arch, tiny.mesh())
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    if dtype == "float32":
        jax.tree.map(np.testing.assert_array_equal, params, tiny.params(arch))
    second = export(tmp_path / "second", arch, params, dtype=dtype)
    assert_bitwise_equal(tensors(first), tensors(second))


def test_negative_zero_and_denormals_survive(tmp_path):
    def odd(stored):
        stored["model.norm.weight"] = np.array([-0.0, 1e-40, -1e-40, 3e38, *[1.0] * 8]).astype(ml_dtypes.bfloat16)
        stored["model.layers.2.self_attn.q_norm.weight"][:2] = -0.0, 1e-39

    first = edit_tensors(export(tmp_path / "first", dtype="bfloat16"), odd)
    params = convert.import_params(first, tiny.ARCH, tiny.mesh())
    assert_bitwise_equal(tensors(first), tensors(export(tmp_path / "second", params=params, dtype="bfloat16")))


def test_exported_tensors_are_the_stored_transposes(tmp_path):
    params = tiny.params()
    stored = tensors(export(tmp_path / "model", params=params))
    q_DNH, o_NHD, gate_DF = (np.asarray(params["layers"][name])[1] for name in ("q", "o", "gate"))
    prefix = "model.layers.1."
    np.testing.assert_array_equal(stored[prefix + "self_attn.q_proj.weight"], q_DNH.reshape(12, 24).T)
    np.testing.assert_array_equal(stored[prefix + "self_attn.o_proj.weight"], o_NHD.reshape(24, 12).T)
    np.testing.assert_array_equal(stored[prefix + "mlp.gate_proj.weight"], gate_DF.T)


class CountedSlice:
    """A stored tensor that adds up what is read of it."""

    def __init__(self, slice_, n_read):
        self.slice_, self.n_read = slice_, n_read

    def __getitem__(self, index):
        part = self.slice_[index]
        self.n_read.append(part.nbytes)
        return part

    def __getattr__(self, name):
        return getattr(self.slice_, name)


@pytest.fixture
def n_read(monkeypatch):
    """The sizes of what an import reads of tensors, bytes."""
    counts, open_tensors = [], convert._open_tensors

    def counted(folder):
        found = open_tensors(folder)
        return {name: convert.Stored(file, CountedSlice(slice_, counts)) for name, (file, slice_) in found.items()}

    monkeypatch.setattr(convert, "_open_tensors", counted)
    return counts


@pytest.mark.parametrize("shape", [(2, 2, 2), (1, 4, 2), (8, 1, 1)], ids=str)
def test_a_sharded_import_equals_the_whole_and_reads_each_byte_once(tmp_path, n_read, shape):
    folder, mesh = export(tmp_path / "model", tiny.UNTIED), tiny.mesh(*shape)
    params = convert.import_params(folder, tiny.UNTIED, mesh)
    assert sum(n_read) == 4 * weights.n_params(tiny.UNTIED)
    jax.tree.map(np.testing.assert_array_equal, params, tiny.params(tiny.UNTIED))
    q = params["layers"]["q"]
    assert q.sharding.spec == jax.P(None, "fsdp", "tensor", None)
    assert q.addressable_shards[0].data.shape == (3, 12 // shape[1], 4 // shape[2], 6)
    export(tmp_path / "again", tiny.UNTIED, params)
    assert_bitwise_equal(tensors(folder), tensors(tmp_path / "again"))


def test_experts_are_stacked_on_import_each_byte_read_once_and_unstacked_on_export(tmp_path, n_read):
    folder = export(tmp_path / "model", EXPERTS, max_shard_bytes=3000)
    stored = tensors(folder)
    assert stored["model.layers.1.mlp.experts.4.gate_proj.weight"].shape == (20, 12)
    assert stored["model.layers.1.mlp.gate.weight"].shape == (6, 12)
    params = convert.import_params(folder, EXPERTS, tiny.mesh(1, 4, 2))
    assert sum(n_read) == 4 * weights.n_params(EXPERTS)
    gate, down = params["layers"]["expert_gate"], params["layers"]["expert_down"]
    assert gate.sharding.spec == jax.P(None, "tensor", "fsdp", None)
    np.testing.assert_array_equal(gate[1, 4].T, stored["model.layers.1.mlp.experts.4.gate_proj.weight"])
    np.testing.assert_array_equal(down[2, 5].T, stored["model.layers.2.mlp.experts.5.down_proj.weight"])
    export(tmp_path / "again", EXPERTS, params)
    assert_bitwise_equal(stored, tensors(tmp_path / "again"))


def test_only_the_asked_slices_are_read_from_disk(tmp_path):
    folder = export(tmp_path / "model")
    asked = []

    class Slice:
        def __init__(self, array):
            self.array = array

        def __getitem__(self, index):
            asked.append(index)
            return self.array[index]

    row = weights.TABLE["layers", "o"]
    stored = {name: convert.Stored(folder, Slice(array)) for name, array in tensors(folder).items() if "o_proj" in name}
    ranges = {"L": range(1, 2), "N": range(2, 4), "H": range(6), "D": range(3, 6)}
    block = convert._read_block(row, tiny.ARCH, stored, ranges)
    assert asked == [(slice(3, 6), slice(12, 24))]
    np.testing.assert_array_equal(block, np.asarray(tiny.params()["layers"]["o"])[1:2, 2:4, :, 3:6])


def test_a_mesh_that_does_not_divide_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="mesh.tensor = 4 does not divide vocab_size = 50"):
        convert.import_params(export(tmp_path / "model"), tiny.ARCH, tiny.mesh(tensor=4))


def drop(name):
    return lambda stored: stored.pop(name)


def put(name, array):
    return lambda stored: stored.update({name: array})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (drop("model.layers.2.mlp.up_proj.weight"), "are missing: model.layers.2.mlp.up_proj.weight"),
        (put("model.norm.weight", np.ones(13, np.float32)), r"model.norm.weight has shape \(13,\), wanted \(12,\)"),
        (put("model.norm.weight", np.ones(12, np.float64)), "model.norm.weight is F64, wanted one of BF16"),
        (put("score.weight", np.ones((2, 12), np.float32)), "does not have by config.json: score.weight"),
        (
            put("model.layers.3.mlp.up_proj.weight", np.ones(1)),
            "does not have by config.json: model.layers.3.mlp.up_proj.weight",
        ),
        (put("lm_head.weight", np.ones((50, 12), np.float32)), "ties lm_head.weight .* differ"),
    ],
)
def test_wrong_tensors_are_refused_before_any_device_memory_is_used(tmp_path, monkeypatch, change, named):
    folder = edit_tensors(export(tmp_path / "model"), change)
    monkeypatch.setattr(jax, "device_put", lambda *_: pytest.fail("touched the device"))
    with pytest.raises(ConvertError, match=named):
        convert.import_params(folder, tiny.ARCH, tiny.mesh())


def test_redundant_tensors_of_older_writers_are_ignored(tmp_path):
    def older(stored):
        stored["lm_head.weight"] = stored["model.embed_tokens.weight"]
        stored["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(3, np.float32)

    params = convert.import_params(edit_tensors(export(tmp_path / "model"), older), tiny.ARCH, tiny.mesh())
    assert "head" not in params


def test_an_untied_model_without_a_head_is_refused(tmp_path):
    with pytest.raises(ConvertError, match="are missing: lm_head.weight"):
        convert.import_params(export(tmp_path / "model"), tiny.UNTIED, tiny.mesh())


@pytest.mark.parametrize("keep", [0, 20, -3], ids=["empty", "in the header", "in the data"])
def test_a_truncated_shard_is_refused_by_file(tmp_path, keep):
    folder = export(tmp_path / "model", max_shard_bytes=2000)
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(ConvertError, match=f"{shard.name}: not a whole safetensors file"):
        convert.import_params(folder, tiny.ARCH, tiny.mesh())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConvertError, match=r"nowhere/model.safetensors: no such file"):
        convert.import_params(tmp_path / "nowhere", tiny.ARCH, tiny.mesh())
    folder = export(tmp_path / "model", max_shard_bytes=2000)
    shard = sorted(folder.glob("*.safetensors"))[2]
    shard.unlink()
    with pytest.raises(ConvertError, match=f"{shard.name}: no such file; model.safetensors.index.json refers to it"):
        convert.import_params(folder, tiny.ARCH, tiny.mesh())


def test_an_index_that_lists_what_no_shard_holds_is_refused(tmp_path):
    folder = export(tmp_path / "model", max_shard_bytes=2000)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.layers.9.weight"] = index["weight_map"]["model.norm.weight"]
    path.write_text(json.dumps(index))
    with pytest.raises(ConvertError, match="no shard holds: model.layers.9.weight"):
        convert.import_params(folder, tiny.ARCH, tiny.mesh())
    path.write_text("{}")
    with pytest.raises(ConvertError, match="weight_map is missing"):
        convert.import_params(folder, tiny.ARCH, tiny.mesh())


def test_the_index_covers_every_tensor_and_counts_its_bytes(tmp_path):
    folder = export(tmp_path / "model", max_shard_bytes=2000, dtype="bfloat16")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 2 * weights.n_params(tiny.ARCH)
    for file in folder.glob("*.safetensors"):
        held = load_file(file)
        assert safe_open(file, framework="np").metadata() == {"format": "pt"}  # older transformers refuse it without
        assert {name for name, shard in index["weight_map"].items() if shard == file.name} == held.keys()
        assert sum(array.nbytes for array in held.values()) <= 2000 or len(held) == 1


def test_an_export_never_overwrites(tmp_path):
    (tmp_path / "empty").mkdir()
    export(tmp_path / "empty")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(ConvertError, match="full: already there"):
        export(tmp_path / "full")
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["notes.txt"]
    with pytest.raises(ConvertError, match="notes.txt: already there"):
        export(tmp_path / "full" / "notes.txt")


@pytest.mark.parametrize("target_exists", [False, True])
def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch, target_exists):
    calls = []

    write_file = convert._write_file

    def failing_write(path, *arguments):
        calls.append(path)
        write_file(path, *arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(convert, "_write_file", failing_write)
    target = tmp_path / "model"
    if target_exists:
        target.mkdir()
    with pytest.raises(KeyboardInterrupt):
        export(target, max_shard_bytes=2000)
    assert list(tmp_path.rglob("*")) == [target] * target_exists
    assert all(path.parent != target for path in calls)  # a kill -9 leaves no folder of the wanted name either


def test_what_else_belongs_in_the_folder_is_there_before_it_takes_its_name(tmp_path):
    def finish(folder):
        assert not (tmp_path / "model").exists()
        (folder / "tokenizer.json").write_text("{}")

    assert (export(tmp_path / "model", finish=finish) / "tokenizer.json").exists()

    def fail(folder):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        export(tmp_path / "other", finish=fail)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_source_config_is_kept_but_for_its_dtype_and_the_stop_ids_that_it_lacks(tmp_path):
    generation = {"eos_token_id": [7, 9], "temperature": 0.6}
    source = write(tmp_path / "source", V4 | {"max_position_embeddings": 40960}, generation)
    made = export(tmp_path / "made", config_from=source, dtype="bfloat16", stop_ids=(7,))
    kept = json.loads((made / "config.json").read_text())
    assert kept == V4 | {"max_position_embeddings": 40960, "torch_dtype": "bfloat16"}
    assert json.loads((made / "generation_config.json").read_text()) == generation
    made = export(tmp_path / "more", config_from=source, dtype="bfloat16", stop_ids=(1, 9, 7))
    assert json.loads((made / "config.json").read_text()) == kept | {"eos_token_id": [7, 1, 9]}
    assert json.loads((made / "generation_config.json").read_text()) == generation | {"eos_token_id": [7, 9, 1]}
    source = write(tmp_path / "source5", V5)
    made = export(tmp_path / "made5", config_from=source, dtype="bfloat16", stop_ids=(1, 7))
    assert json.loads((made / "config.json").read_text()) == V5 | {"dtype": "bfloat16", "eos_token_id": [7, 1]}
    assert json.loads((made / "generation_config.json").read_text()) == {"eos_token_id": [1, 7]}


def test_export_refuses_what_does_not_fit_together(tmp_path):
    source = write(tmp_path / "source", V5 | {"rms_norm_eps": 1e-6})
    with pytest.raises(ConvertError, match="describes .*rms_eps=1e-06"):
        export(tmp_path / "made", config_from=source)
    with pytest.raises(ConvertError, match="parameter tree"):
        export(tmp_path / "made", tiny.UNTIED, tiny.params(tiny.ARCH))
    with pytest.raises(ConvertError, match="float16"):
        export(tmp_path / "made", dtype="float16")
    shutil.rmtree(source)
    assert not list(tmp_path.iterdir())


KILLED = """
    import sys, time
    import tiny
    from lte_jax.model_io import convert

    write_file, written = convert._write_file, []

    def slow(path, *arguments):
        write_file(path, *arguments)
        written.append(path)
        if len(written) == 3:
            print("half", flush=True)
            time.sleep(60)

    convert._write_file = slow
    convert.export_params(sys.argv[1], tiny.ARCH, tiny.params(), stop_ids=(7,), max_shard_bytes=2000)
"""


def test_a_killed_export_leaves_no_model_and_the_next_one_takes_its_place(tmp_path):
    target = tmp_path / "model"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(target)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["model.partial"]
    assert not (tmp_path / "model.partial" / "config.json").exists()  # nor does the rest pass for a model
    with pytest.raises(ConvertError, match="config.json: cannot be read"):
        read_config(tmp_path / "model.partial")
    export(target)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


MEASURED = """
    import os, sys, threading, time
    import jax, tiny
    from lte_jax.model_io import convert
    from lte_jax.model_io.hf_config import read_config

    def resident():
        "MiB of this process's own memory, without mapped files."
        for line in open("/proc/self/status"):
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024

    peak, done = [0.0], threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], resident())
            time.sleep(0.002)

    def measured(work):
        start = peak[0] = resident()
        made = work()
        return made, peak[0] - start

    source, target = sys.argv[1:]
    arch, mesh = read_config(source).arch, tiny.mesh(1, 2, 2)
    jax.block_until_ready(jax.device_put(0.0, mesh.devices.flat[0]))
    threading.Thread(target=watch, daemon=True).start()
    params, imported = measured(lambda: jax.block_until_ready(convert.import_params(source, arch, mesh)))
    _, exported = measured(lambda: convert.export_params(target, arch, params, stop_ids=(7,)))
    print(imported, exported)
"""


@pytest.mark.slow
def test_conversion_holds_the_largest_tensor_and_the_shard_being_placed(tmp_path):
    arch = Architecture(30_000, 1024, 2816, 12, 16, 8, 64, 1e6, 1e-6, True)
    rng = np.random.default_rng(0)
    params = weights.tree(arch, lambda _, row: rng.random(row.shape(arch), np.float32))
    folder = export(tmp_path / "model", arch, params, dtype="bfloat16", max_shard_bytes=100_000_000)
    del params
    command = [sys.executable, "-c", textwrap.dedent(MEASURED), str(folder), str(tmp_path / "made")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    imported, exported = map(float, done.stdout.split())

    mib = 2**20
    largest = max(math.prod(convert._hf_shape(t.row, arch)) for t in convert._hf_tensors(arch)) * 4 / mib
    shard = max(math.prod(row.shape(arch)) for row in weights.table(arch).values()) * 4 / 4 / mib  # of a mesh of four
    placed = weights.n_params(arch) * 4 / mib  # the virtual devices' memory is the host's
    assert weights.n_params(arch) * 2 / mib > 250
    assert imported < placed + 1.2 * largest + shard, (imported, placed, largest, shard)
    assert exported < 1.2 * largest, (exported, largest)
    assert_bitwise_equal(tensors(folder), tensors(tmp_path / "made"))
