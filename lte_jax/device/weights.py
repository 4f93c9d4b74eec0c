"""The weight table: for each weight our path, its axes by letter, and its Hugging Face name and axes.

Shapes, initial scale, sharding, import and export are loops over this table; no other place knows a name or an axis.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

# V vocabulary, D model, F feed-forward, N query heads, K key/value heads, H head size, L layers, E experts,
# X feed-forward of one expert.


@dataclass(frozen=True)
class Yarn:
    """Rotary embeddings stretched past the trained length (arXiv 2309.00071)."""

    factor: float  # how many times the trained length
    trained_length: int  # positions; original_max_position_embeddings
    beta_fast: float  # a pair that turns more often than this over the trained length keeps its frequency
    beta_slow: float  # one that turns less often is slowed down by the factor; those between, in part
    attention_factor: float  # queries and keys are scaled by it
    truncate: bool  # the ramp's two ends are rounded outwards to whole pairs


@dataclass(frozen=True)
class Experts:
    """A mixture of experts in place of each layer's feed-forward."""

    n: int
    n_active: int  # that each token goes to
    normed: bool  # the weights of a token's experts are scaled to sum to one


@dataclass(frozen=True)
class Architecture:
    """The numbers that make one Qwen3, dense or MoE, or one Qwen2.5. Hashable, so it may be static under jit."""

    vocab_size: int
    d_model: int
    d_ff: int  # of one expert, where there are experts
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    rope_theta: float
    rms_eps: float
    tied: bool  # the head is the embedding
    qk_norm: bool = True  # norms on queries and keys, as in Qwen3; else biases on queries, keys and values (Qwen2.5)
    experts: Experts | None = None
    yarn: Yarn | None = None

    def size(self, letter: str) -> int:
        sizes = dict(
            V=self.vocab_size,
            D=self.d_model,
            F=self.d_ff,
            N=self.n_heads,
            K=self.n_kv_heads,
            H=self.d_head,
            L=self.n_layers,
            E=self.experts.n if self.experts else 0,
            X=self.d_ff,
        )
        return sizes[letter]


@dataclass(frozen=True)
class Weight:
    """One row. `fan_in` is empty for scales and biases, which are not drawn and stay in float32."""

    axes: str
    hf_name: str  # {} is the layer number, then the expert's
    hf_axes: str  # the same letters in the order in which a Hugging Face tensor stores them, without the stacked ones
    fan_in: str = ""
    residual: bool = False  # adds to the residual stream: the initial scale shrinks with depth
    start: float = 1.0  # of a weight without fan-in
    when: Callable[[Architecture], bool] = lambda arch: True  # which architectures have it

    @property
    def stacked(self) -> str:
        """The axes, always first, along which many Hugging Face tensors are one weight."""
        return "".join(letter for letter in self.axes if letter not in self.hf_axes)

    def shape(self, arch: Architecture) -> tuple[int, ...]:
        return tuple(arch.size(letter) for letter in self.axes)

    def initial_std(self, arch: Architecture) -> float:
        """1/sqrt(fan-in), times 1/sqrt(2 L) where the output adds to the residual stream (as in GPT-2)."""
        std = 1 / math.sqrt(math.prod(arch.size(letter) for letter in self.fan_in))
        return std / math.sqrt(2 * arch.n_layers) if self.residual else std


def _qk_norm(arch: Architecture) -> bool:
    return arch.qk_norm


def _bias(arch: Architecture) -> bool:
    return not arch.qk_norm


def _dense(arch: Architecture) -> bool:
    return not arch.experts


def _sparse(arch: Architecture) -> bool:
    return bool(arch.experts)


_ATTN, _MLP = "model.layers.{}.self_attn.", "model.layers.{}.mlp."
_EXPERT = _MLP + "experts.{}."
TABLE = {
    ("embed",): Weight("VD", "model.embed_tokens.weight", "VD", fan_in="D"),
    ("layers", "attn_norm"): Weight("LD", "model.layers.{}.input_layernorm.weight", "D"),
    ("layers", "q"): Weight("LDNH", _ATTN + "q_proj.weight", "NHD", fan_in="D"),
    ("layers", "k"): Weight("LDKH", _ATTN + "k_proj.weight", "KHD", fan_in="D"),
    ("layers", "v"): Weight("LDKH", _ATTN + "v_proj.weight", "KHD", fan_in="D"),
    ("layers", "q_norm"): Weight("LH", _ATTN + "q_norm.weight", "H", when=_qk_norm),
    ("layers", "k_norm"): Weight("LH", _ATTN + "k_norm.weight", "H", when=_qk_norm),
    ("layers", "q_bias"): Weight("LNH", _ATTN + "q_proj.bias", "NH", start=0.0, when=_bias),
    ("layers", "k_bias"): Weight("LKH", _ATTN + "k_proj.bias", "KH", start=0.0, when=_bias),
    ("layers", "v_bias"): Weight("LKH", _ATTN + "v_proj.bias", "KH", start=0.0, when=_bias),
    ("layers", "o"): Weight("LNHD", _ATTN + "o_proj.weight", "DNH", fan_in="NH", residual=True),
    ("layers", "mlp_norm"): Weight("LD", "model.layers.{}.post_attention_layernorm.weight", "D"),
    ("layers", "gate"): Weight("LDF", _MLP + "gate_proj.weight", "FD", fan_in="D", when=_dense),
    ("layers", "up"): Weight("LDF", _MLP + "up_proj.weight", "FD", fan_in="D", when=_dense),
    ("layers", "down"): Weight("LFD", _MLP + "down_proj.weight", "DF", fan_in="F", residual=True, when=_dense),
    ("layers", "router"): Weight("LDE", _MLP + "gate.weight", "ED", fan_in="D", when=_sparse),
    ("layers", "expert_gate"): Weight("LEDX", _EXPERT + "gate_proj.weight", "XD", fan_in="D", when=_sparse),
    ("layers", "expert_up"): Weight("LEDX", _EXPERT + "up_proj.weight", "XD", fan_in="D", when=_sparse),
    ("layers", "expert_down"): Weight(
        "LEXD", _EXPERT + "down_proj.weight", "DX", fan_in="X", residual=True, when=_sparse
    ),
    ("final_norm",): Weight("D", "model.norm.weight", "D"),
    ("head",): Weight("VD", "lm_head.weight", "VD", fan_in="D", when=lambda arch: not arch.tied),
}


def table(arch: Architecture) -> dict[tuple[str, ...], Weight]:
    """The rows that this architecture has."""
    return {path: row for path, row in TABLE.items() if row.when(arch)}


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
