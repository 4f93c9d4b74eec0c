"""The dense Qwen3 models (arXiv 2505.09388, table 1) by name, for a plan without their files."""

from pathlib import Path

from lte_jax.device.weights import Architecture
from lte_jax.model_io.hf_config import read_config


def _qwen3(d_model: int, d_ff: int, n_layers: int, n_heads: int, tied: bool) -> Architecture:
    return Architecture(151936, d_model, d_ff, n_layers, n_heads, 8, 128, 1e6, 1e-6, tied)


POSITIONS, BASE_POSITIONS = 40960, 32768  # of all sizes, after and before post-training
SHAPES = {
    "qwen3-0.6b": _qwen3(1024, 3072, 28, 16, True),
    "qwen3-1.7b": _qwen3(2048, 6144, 28, 16, True),
    "qwen3-4b": _qwen3(2560, 9728, 36, 32, True),
    "qwen3-8b": _qwen3(4096, 12288, 36, 32, False),
    "qwen3-14b": _qwen3(5120, 17408, 40, 40, False),
    "qwen3-32b": _qwen3(5120, 25600, 64, 64, False),
}


def architecture(name: str) -> Architecture:
    """Of a folder with a config.json, or of a named shape, such as Qwen3-4B-Base or Qwen/Qwen3-8B.

    Raises ValueError where it is neither.
    """
    if Path(name, "config.json").is_file():
        return read_config(name).arch
    if shape := SHAPES.get(Path(name).name.lower().removesuffix("-base")):
        return shape
    raise ValueError(f"model.path = {name!r}: wanted a folder with a config.json, or one of {', '.join(SHAPES)}")


def max_positions(name: str) -> int:
    """That the model of `architecture` was made for."""
    if Path(name, "config.json").is_file():
        return read_config(name).max_positions
    return BASE_POSITIONS if name.lower().endswith("-base") else POSITIONS
