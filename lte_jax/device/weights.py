"""The weight table: for each weight our path, its axes by letter, and its Hugging Face name and axes.

Shapes, initial scale, sharding, import and export are loops over this table; no other place knows a name or an axis.
"""

import math
from dataclasses import dataclass

# V vocabulary, D model, F feed-forward, N query heads, K key/value heads, H head size, L layers.


@dataclass(frozen=True)
class Architecture:
    """The numbers that make one dense Qwen3. Hashable, so it may be static under jit."""

    vocab_size: int
    d_model: int
    d_ff: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    rope_theta: float
    rms_eps: float
    tied: bool  # the head is the embedding

    def size(self, letter: str) -> int:
        sizes = dict(
            V=self.vocab_size,
            D=self.d_model,
            F=self.d_ff,
            N=self.n_heads,
            K=self.n_kv_heads,
            H=self.d_head,
            L=self.n_layers,
        )
        return sizes[letter]


@dataclass(frozen=True)
class Weight:
    """One row. `axes` starts with L where the layers are stacked; `fan_in` is empty for scales, which start at one."""

    axes: str
    hf_name: str  # {} is the layer number
    hf_axes: str  # the same letters, L left out, in the order in which the Hugging Face tensor stores them
    fan_in: str = ""
    residual: bool = False  # adds to the residual stream: the initial scale shrinks with depth

    def shape(self, arch: Architecture) -> tuple[int, ...]:
        return tuple(arch.size(letter) for letter in self.axes)

    def initial_std(self, arch: Architecture) -> float:
        """1/sqrt(fan-in), times 1/sqrt(2 L) where the output adds to the residual stream (as in GPT-2)."""
        std = 1 / math.sqrt(math.prod(arch.size(letter) for letter in self.fan_in))
        return std / math.sqrt(2 * arch.n_layers) if self.residual else std


_LAYER = "model.layers.{}."
TABLE = {
    ("embed",): Weight("VD", "model.embed_tokens.weight", "VD", fan_in="D"),
    ("layers", "attn_norm"): Weight("LD", _LAYER + "input_layernorm.weight", "D"),
    ("layers", "q"): Weight("LDNH", _LAYER + "self_attn.q_proj.weight", "NHD", fan_in="D"),
    ("layers", "k"): Weight("LDKH", _LAYER + "self_attn.k_proj.weight", "KHD", fan_in="D"),
    ("layers", "v"): Weight("LDKH", _LAYER + "self_attn.v_proj.weight", "KHD", fan_in="D"),
    ("layers", "q_norm"): Weight("LH", _LAYER + "self_attn.q_norm.weight", "H"),
    ("layers", "k_norm"): Weight("LH", _LAYER + "self_attn.k_norm.weight", "H"),
    ("layers", "o"): Weight("LNHD", _LAYER + "self_attn.o_proj.weight", "DNH", fan_in="NH", residual=True),
    ("layers", "mlp_norm"): Weight("LD", _LAYER + "post_attention_layernorm.weight", "D"),
    ("layers", "gate"): Weight("LDF", _LAYER + "mlp.gate_proj.weight", "FD", fan_in="D"),
    ("layers", "up"): Weight("LDF", _LAYER + "mlp.up_proj.weight", "FD", fan_in="D"),
    ("layers", "down"): Weight("LFD", _LAYER + "mlp.down_proj.weight", "DF", fan_in="F", residual=True),
    ("final_norm",): Weight("D", "model.norm.weight", "D"),
    ("head",): Weight("VD", "lm_head.weight", "VD", fan_in="D"),
}


def table(arch: Architecture) -> dict[tuple[str, ...], Weight]:
    """The rows that this architecture has: a tied head has no weight of its own."""
    return {path: row for path, row in TABLE.items() if not (arch.tied and path == ("head",))}


def tree(arch: Architecture, value) -> dict:
    """A parameter tree with `value(path, row)` in place of each weight."""
    params: dict = {}
    for path, row in table(arch).items():
        inner = params
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value(path, row)
    return params


def leaf(params: dict, path: tuple[str, ...]):
    """The weight of a parameter tree at a path of the table."""
    for name in path:
        params = params[name]
    return params


def n_params(arch: Architecture) -> int:
    return sum(math.prod(row.shape(arch)) for row in table(arch).values())
