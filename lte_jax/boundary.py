"""The door between host and device: records to arrays and back. All padding, masks and placement are decided here."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from lte_jax.device.arrays import Microbatch, Tally
from lte_jax.device.mesh import batch_sharding, n_batch_shards
from lte_jax.device.normalisers import NORMALISERS
from lte_jax.records import Group, Rollout


@dataclass(frozen=True, eq=False)
class Row:
    """One trained response on its plain prompt."""

    prompt_ids: tuple[int, ...]
    rollout: Rollout
    advantage: float
    entropy_scale: float  # of the group, where token entropy makes the advantage
    token_weight: float

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.rollout.tokens)


@dataclass(frozen=True)
class Packed:
    """The micro-batches of one update. Z counts every decided response, trained or not."""

    microbatches: list[Microbatch]
    n_tokens: int  # Z
    n_trained: int  # rows that are


def pad_rows(rows: Sequence[Sequence[int]], n_rows: int, n_columns: int) -> np.ndarray:
    """int32 [n_rows, n_columns], each row from column 0, zeros behind it. Zero is never read: masks say what counts."""
    out = np.zeros((n_rows, n_columns), np.int32)
    for index, row in enumerate(rows):
        out[index, : len(row)] = row
    return out


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def pack(groups: Sequence[Group], config, mesh: Mesh) -> Packed:
    """The micro-batches of one update: rows sorted by length, padded to buckets, under the token budget.

    Rows without advantage are left out of the computation but not of Z, which changes no gradient; with an entropy
    bonus or a KL they stay in. Members whose advantage is None leave both. `config`: the whole Config.
    """
    members = [(g, r, a) for g in groups for r, a in zip(g.members, g.advantages, strict=True) if a is not None]
    n_tokens_B = np.array([len(r.tokens) for _, r, _ in members], np.int32)
    off_policy_B = np.array([r.off_policy for _, r, _ in members], bool)
    weight_B = NORMALISERS[config.loss.normaliser](n_tokens_B, off_policy_B, config.sample.response_budget)
    rows = [
        Row(group.prompt.ids, rollout, advantage, group.entropy_scale, float(weight))
        for (group, rollout, advantage), weight in zip(members, weight_B, strict=True)
        if advantage != 0 or group.entropy_scale or keeps_all_rows(config)
    ]
    rows.sort(key=lambda row: row.length, reverse=True)
    shards, microbatches, start = n_batch_shards(mesh), [], 0
    for n_rows, n_columns in split([row.length for row in rows], config, shards):
        taken, start = rows[start : start + n_rows], start + n_rows
        micro = _microbatch(dealt(taken, shards, n_rows // shards), n_columns)
        microbatches.append(place(micro, mesh))
    return Packed(microbatches, int(n_tokens_B.sum()), len(rows))


def split(lengths: Sequence[int], config, shards: int) -> list[tuple[int, int]]:
    """(rows, columns) of the micro-batches for rows of falling lengths: each takes the next rows, the last may not fill
    its own. As few padded tokens as the sizes allow; a further micro-batch is worth a quarter of the token budget."""
    dear = config.optim.microbatch_tokens // 4
    best: list[tuple[int, list[tuple[int, int]]]] = [(0, [])] * (len(lengths) + 1)  # of the rows from there on
    for start in reversed(range(len(lengths))):
        n_columns = round_up(lengths[start], config.optim.length_bucket)
        choices = []
        for size in reversed(size_buckets(config.optim.rows_per_shard(n_columns, shards))):
            cost, rest = best[min(start + size * shards, len(lengths))]
            choices.append((size * shards * n_columns + dear + cost, [(size * shards, n_columns), *rest]))
        best[start] = min(choices, key=lambda choice: choice[0])
    return best[0][1]


def microbatch_sizes(config, mesh: Mesh) -> list[tuple[int, int]]:
    """Every (rows, columns) that `pack` may make."""
    longest, shards = config.prompt.budget + config.sample.response_budget, n_batch_shards(mesh)
    bucket = config.optim.length_bucket
    columns = range(bucket, round_up(longest, bucket) + 1, bucket)
    return [
        (shards * n, length) for length in columns for n in size_buckets(config.optim.rows_per_shard(length, shards))
    ]


def place(micro: Microbatch, mesh: Mesh) -> Microbatch:
    """On the mesh. Of several processes, each holds all rows and sends its own devices theirs."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda rows: jax.make_array_from_callback(rows.shape, sharding, lambda at: rows[at]), micro)


def keeps_all_rows(config) -> bool:
    """Whether rows without advantage are computed too: they have a gradient, or are asked for."""
    has_bonus = config.loss.entropy_coef > 0 or config.loss.entropy_schedule == "adaptive"
    return has_bonus or config.loss.kl != "none" or config.advantage.zero_variance == "keep"


def dealt(rows: Sequence[Row], shards: int, n_rows: int) -> list[Row | None]:
    """`n_rows` rows for each shard, None where it has no more, dealt in turns: of rows sorted by length, no shard has
    two more than another, nor more tokens by more than the longest row has."""
    hands = [list(rows[shard::shards]) for shard in range(shards)]
    return [row for hand in hands for row in [*hand, *[None] * (n_rows - len(hand))]]


def size_buckets(most: int) -> list[int]:
    """`most`, its half and its quarter: three sizes, so three programs."""
    return sorted({size for size in (most // 4, most // 2, most) if size})


def size_bucket(n: int, most: int) -> int:
    """The smallest of the size buckets that holds n, else `most`."""
    return next((size for size in size_buckets(most) if n <= size), most)


def length_buckets(most: int, multiple: int) -> list[int]:
    """Five shares of `most` columns, each rounded up to a multiple: few programs."""
    return sorted({round_up(-(-most * eighths // 8), multiple) for eighths in (2, 3, 4, 6, 8)})


def length_bucket(n: int, most: int, multiple: int) -> int:
    """The smallest of the length buckets that holds n."""
    return next(share for share in length_buckets(most, multiple) if n <= share)


def _microbatch(rows: Sequence[Row | None], n_columns: int) -> Microbatch:
    shape = len(rows), n_columns
    loss_mask_BT, behaviour_logp_BT = np.zeros(shape, bool), np.zeros(shape, np.float32)
    sampled_logp_BT = np.zeros(shape, np.float32)
    tokens_BT = pad_rows([row.prompt_ids if row else () for row in rows], *shape)
    for index, row in enumerate(rows):
        if row:
            response = slice(len(row.prompt_ids), row.length)
            tokens_BT[index, response] = row.rollout.tokens
            loss_mask_BT[index, response] = True
            behaviour_logp_BT[index, response] = row.rollout.behaviour_logp
            sampled_logp_BT[index, response] = row.rollout.sampled_logp

    def per_row(value, dtype):
        return np.array([value(row) if row else 0 for row in rows], dtype)

    return Microbatch(
        tokens_BT=tokens_BT,
        loss_mask_BT=loss_mask_BT,
        behaviour_logp_BT=behaviour_logp_BT,
        sampled_logp_BT=sampled_logp_BT,
        old_logp_BT=behaviour_logp_BT,
        reference_logp_BT=np.zeros(shape, np.float32),
        advantage_B=per_row(lambda row: row.advantage, np.float32),
        entropy_scale_B=per_row(lambda row: row.entropy_scale, np.float32),
        off_policy_B=per_row(lambda row: row.rollout.off_policy, bool),
        token_weight_B=per_row(lambda row: row.token_weight, np.float32),
    )


def fetch(arrays):
    """Device arrays as numpy, in one transfer. On this process's devices, or the same on all."""
    return jax.device_get(arrays)


def fetch_rows(micro: Microbatch) -> dict[str, np.ndarray]:
    """A micro-batch by field, from every process's devices: all must call it together."""
    return multihost_utils.process_allgather(micro, tiled=True)._asdict()


def tally_metrics(tally: Tally) -> dict[str, float]:
    """Means, maxima and shares of one update, by metric name. A mean over no token is left out, never 0/0."""
    t = {name: float(value) for name, value in zip(Tally._fields, fetch(tally), strict=True)}
    n_all, push = t["n_on"] + t["n_off"], t["push_on"] + t["push_off"]
    means = {
        "ratio/on_policy_mean": (t["ratio_on"], t["n_on"]),
        "ratio/hinted_mean": (t["ratio_off"], t["n_off"]),
        "ratio/hinted_shaped_mean": (t["shaped_off"], t["n_off"]),
        "ratio/outside_frac": (t["outside"], t["n_on"]),
        "ratio/clipped_frac": (t["clipped"], t["n_on"]),
        "ratio/dual_clipped_frac": (t["dual_clipped"], t["n_on"]),
        "policy/entropy": (t["entropy"], n_all),
        "update/hinted_push_frac": (t["push_off"], push),
        "policy/kl": (t["kl"], t["n_kl"]),
        "correction/weight_mean": (t["correction"], t["n_corrected"]),
        "correction/rejected_frac": (t["rejected"], t["n_corrected"]),
        "mismatch/mean_abs": (t["mismatch"], t["n_on"]),
        "mismatch/token_error": (t["token_error"], t["n_on"]),
    }
    maxima = {
        "ratio/on_policy_max": (t["ratio_on_max"], t["n_on"]),
        "ratio/hinted_max": (t["ratio_off_max"], t["n_off"]),
        "ratio/hinted_shaped_max": (t["shaped_off_max"], t["n_off"]),
        "correction/weight_max": (t["correction_max"], t["n_corrected"]),
        "mismatch/max_abs": (t["mismatch_max"], t["n_on"]),
    }
    metrics = {name: total / count for name, (total, count) in means.items() if count}
    metrics |= {name: largest for name, (largest, count) in maxima.items() if count}
    return {**metrics, "update/objective": t["objective"], "update/trained_tokens": n_all}
