"""config.json and generation_config.json of a Hugging Face folder: read, refused where unsupported, and written.

Parsed here rather than by transformers: the spelling differs between its versions 4 and 5, and of
generation_config.json only the stop ids may count.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lte_jax.device.weights import Architecture, Experts, Yarn

CONFIG, GENERATION = "config.json", "generation_config.json"
POINTER = b"version https://git-lfs"
CLASSES = {"qwen3": "Qwen3ForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM"}
DEFAULT_POSITIONS = 32768  # of transformers' configs of these models, where config.json has none
SUPPORTED = (
    "Qwen3 dense, Qwen3 MoE with experts in every layer, and Qwen2.5: silu, rope plain or YaRN, no sliding window, "
    "not quantised"
)


class ConvertError(ValueError):
    """A folder that cannot be read or written. The message says where, what was wanted and what was found."""


@dataclass(frozen=True)
class HfConfig:
    """What a Hugging Face folder says of its model. `stop_ids`: sorted, from config.json and generation_config.json.
    `max_positions`: that it was made for, as transformers counts them."""

    arch: Architecture
    stop_ids: tuple[int, ...]
    max_positions: int = DEFAULT_POSITIONS


def read_config(folder: str | Path) -> HfConfig:
    """Reads config.json in the spelling of transformers 4 or 5; of generation_config.json only the stop ids.

    Raises ConvertError for a missing or malformed file, and for whatever this model cannot compute.
    """
    path = Path(folder) / CONFIG
    config = read_json(path)
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    _refuse_unsupported(config, rope, path)
    d_model, n_heads = (_positive(config, key, int, path) for key in ("hidden_size", "num_attention_heads"))
    experts = _experts(config, path) if config["model_type"] == "qwen3_moe" else None
    arch = Architecture(
        vocab_size=_positive(config, "vocab_size", int, path),
        d_model=d_model,
        d_ff=_positive(config, "moe_intermediate_size" if experts else "intermediate_size", int, path),
        n_layers=_positive(config, "num_hidden_layers", int, path),
        n_heads=n_heads,
        n_kv_heads=_positive(config, "num_key_value_heads", int, path),
        d_head=_positive({"head_dim": config.get("head_dim") or d_model // n_heads}, "head_dim", int, path),
        rope_theta=_positive(config | rope, "rope_theta", float, path),
        rms_eps=_positive(config, "rms_norm_eps", float, path),
        tied=bool(config.get("tie_word_embeddings", False)),
        qk_norm=config["model_type"] != "qwen2",
        experts=experts,
        yarn=_yarn(config, rope, path) if _rope_type(rope) == "yarn" else None,
    )
    if n_heads % arch.n_kv_heads or arch.d_head % 2:
        raise ConvertError(
            f"{path}: {n_heads} attention heads, {arch.n_kv_heads} key/value heads of size {arch.d_head}: wanted heads "
            "that are a multiple of the key/value heads, and an even size"
        )
    stop_ids = _stop_ids(config, path)
    generation = path.with_name(GENERATION)
    if generation.exists():
        stop_ids |= _stop_ids(read_json(generation), generation)
    return HfConfig(arch, tuple(sorted(stop_ids)), _max_positions(config, arch, path))


def _max_positions(config: dict, arch: Architecture, path: Path) -> int:
    if arch.yarn:
        return round(arch.yarn.factor * arch.yarn.trained_length)
    return _positive({"max_position_embeddings": DEFAULT_POSITIONS} | config, "max_position_embeddings", int, path)


def config_files(arch: Architecture, stop_ids: Sequence[int], dtype: str, config_from: str | Path | None) -> dict:
    """File name -> contents of config.json and generation_config.json, both with all the stop ids."""
    generation = {"eos_token_id": [int(token) for token in stop_ids] or None}
    if config_from is None:
        return {CONFIG: _new_config(arch, dtype) | generation, GENERATION: generation}
    source = Path(config_from)
    if (found := read_config(source).arch) != arch:
        raise ConvertError(f"{source / CONFIG}: describes {found}, the parameters are {arch}")
    config = read_json(source / CONFIG)
    config |= dict.fromkeys({"dtype", "torch_dtype"} & config.keys() or {"torch_dtype"}, dtype)
    kept = source / GENERATION
    return {
        CONFIG: _with_stop_ids(config, stop_ids, source / CONFIG),
        GENERATION: _with_stop_ids(read_json(kept), stop_ids, kept) if kept.exists() else generation,
    }


def _with_stop_ids(values: dict, stop_ids: Sequence[int], path: Path) -> dict:
    """As they are where they name all of the stop ids; else with those that they lack behind their own."""
    own = _stop_ids(values, path)
    if own >= set(stop_ids):
        return values
    listed = values.get("eos_token_id")
    listed = listed if isinstance(listed, list) else sorted(own)
    return values | {"eos_token_id": [*listed, *sorted(set(stop_ids) - own)]}


def _new_config(arch: Architecture, dtype: str) -> dict:
    """A whole config.json, in the spelling of transformers 4 and 5 at once."""
    model_type = "qwen3_moe" if arch.experts else "qwen3" if arch.qk_norm else "qwen2"
    rope = _rope_parameters(arch)
    config = {
        "architectures": [CLASSES[model_type]],
        "model_type": model_type,
        "vocab_size": arch.vocab_size,
        "hidden_size": arch.d_model,
        "intermediate_size": arch.d_ff,
        "num_hidden_layers": arch.n_layers,
        "num_attention_heads": arch.n_heads,
        "num_key_value_heads": arch.n_kv_heads,
        "head_dim": arch.d_head,
        "rms_norm_eps": arch.rms_eps,
        "tie_word_embeddings": arch.tied,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "max_position_embeddings": round(arch.yarn.factor * arch.yarn.trained_length)
        if arch.yarn
        else DEFAULT_POSITIONS,
        "use_cache": True,
        "use_sliding_window": False,
        "sliding_window": None,
        "rope_theta": arch.rope_theta,
        "rope_scaling": rope if arch.yarn else None,
        "rope_parameters": rope,
        "dtype": dtype,
        "torch_dtype": dtype,
    }
    if arch.qk_norm:
        config["attention_bias"] = False
    if arch.experts:
        config |= {
            "moe_intermediate_size": arch.d_ff,
            "num_experts": arch.experts.n,
            "num_experts_per_tok": arch.experts.n_active,
            "norm_topk_prob": arch.experts.normed,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
        }
    return config


def _rope_parameters(arch: Architecture) -> dict:
    if not arch.yarn:
        return {"rope_type": "default", "rope_theta": arch.rope_theta}
    return {
        "rope_type": "yarn",
        "rope_theta": arch.rope_theta,
        "factor": arch.yarn.factor,
        "original_max_position_embeddings": arch.yarn.trained_length,
        "beta_fast": arch.yarn.beta_fast,
        "beta_slow": arch.yarn.beta_slow,
        "attention_factor": arch.yarn.attention_factor,
        "truncate": arch.yarn.truncate,
    }


def read_json(path: Path) -> dict:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConvertError(f"{path}: cannot be read: {error.strerror}; wanted a Hugging Face model folder") from None
    except ValueError as error:  # not UTF-8, or not JSON
        refuse_pointer(path)
        raise ConvertError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConvertError(f"{path}: wanted a JSON object, got {type(values).__name__}")
    return values


def refuse_pointer(path: Path) -> None:
    """Raises ConvertError where the file is what Git LFS leaves in the place of a large file."""
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise ConvertError(
                f"{path}: a pointer of Git LFS, not the file itself: run `git lfs pull` in {path.parent}, or fetch the "
                "file again"
            )


def write_json(path: Path, values: dict) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _refuse_unsupported(config: dict, rope: dict, path: Path) -> None:
    for key, found, wanted in (
        ("model_type", config.get("model_type"), CLASSES),
        ("hidden_act", config.get("hidden_act", "silu"), ["silu"]),
        ("attention_bias", config.get("attention_bias") or False, [False]),
        ("use_sliding_window", config.get("use_sliding_window") or False, [False]),
        ("layer_types", set(config.get("layer_types") or ["full_attention"]), [{"full_attention"}]),
        ("rope_type", _rope_type(rope), ["default", "yarn"]),
        ("partial_rotary_factor", (config | rope).get("partial_rotary_factor") or 1, [1]),
        ("decoder_sparse_step", config.get("decoder_sparse_step", 1), [1]),
        ("mlp_only_layers", config.get("mlp_only_layers") or [], [[]]),
        ("quantization_config", config.get("quantization_config"), [None]),
    ):
        if found not in wanted:
            raise ConvertError(f"{path}: {key} = {found!r}: supported now is {SUPPORTED}")


def _rope_type(rope: dict) -> str:
    return rope.get("rope_type", rope.get("type", "default"))


def _experts(config: dict, path: Path) -> Experts:
    n = _positive({"num_experts": config.get("num_experts", config.get("num_local_experts"))}, "num_experts", int, path)
    n_active = _positive(config, "num_experts_per_tok", int, path)
    if n_active > n:
        raise ConvertError(f"{path}: num_experts_per_tok = {n_active}: wanted at most num_experts = {n}")
    return Experts(n, n_active, normed=bool(config.get("norm_topk_prob", False)))


def _yarn(config: dict, rope: dict, path: Path) -> Yarn:
    """YaRN's numbers, the defaults of transformers filled in."""
    trained = {"max_position_embeddings": config.get("max_position_embeddings"), **rope}
    name = "original_max_position_embeddings"
    factor = _positive(rope, "factor", float, path)
    defaults = {"beta_fast": 32.0, "beta_slow": 1.0, "attention_factor": _attention_factor(factor, rope)}
    given = defaults | {key: rope[key] for key in defaults if rope.get(key) is not None}
    return Yarn(
        factor=factor,
        trained_length=_positive(trained, name if name in rope else "max_position_embeddings", int, path),
        **{key: _positive(given, key, float, path) for key in defaults},
        truncate=bool(rope.get("truncate", True)),
    )


def _attention_factor(factor: float, rope: dict) -> float:
    """0.1 ln(factor) + 1, or the ratio of two such where a config weighs them (as DeepSeek's do)."""

    def scale(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1 if factor > 1 else 1.0

    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return scale(rope["mscale"]) / scale(rope["mscale_all_dim"])
    return scale(1)


def _positive(values: dict, key: str, kind: type, path: Path):
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | kind) or not value > 0:
        raise ConvertError(f"{path}: {key} = {value!r}: wanted a positive {kind.__name__}")
    return kind(value)


def _stop_ids(values: dict, path: Path) -> set[int]:
    ids = values.get("eos_token_id")
    ids = [] if ids is None else ids if isinstance(ids, list) else [ids]
    if any(type(token) is not int for token in ids):
        raise ConvertError(f"{path}: eos_token_id = {values['eos_token_id']!r}: wanted a token id or a list of them")
    return set(ids)
