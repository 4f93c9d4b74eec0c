"""Packs host records into device arrays, and reads arrays back. All padding, masks and placement are decided here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from lte_jax.device.arrays import Microbatch
from lte_jax.device.mesh import batch_sharding, n_batch_shards
from lte_jax.device.normalisers import NORMALISERS, supervised_mean
from lte_jax.device.regularisers import acts_on_all_rows
from lte_jax.engine.shapes import UpdateShapes
from lte_jax.metric import Metric
from lte_jax.records import Advantage, Context, Group, Kind, Lesson, Response, Rollout, Span

T = TypeVar("T")
TRAINED = (Kind.ON_POLICY, Kind.OFF_POLICY, Kind.SUPERVISED)


@dataclass(frozen=True, eq=False)
class Row:
    """One response on the context that it is trained on. `spans` cover it; an advantage holds from its token on."""

    prompt_ids: tuple[int, ...]
    response: Response
    spans: tuple[Span, ...]
    advantages: tuple[tuple[int, float], ...]
    entropy_scale: float = 0.0  # of the group, where token entropy makes the advantage

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.response)

    @property
    def is_supervised(self) -> bool:
        return any(span.kind is Kind.SUPERVISED for span in self.spans)

    def count(self, kind: Kind) -> int:
        """Its tokens of this kind."""
        return sum(span.n for span in self.spans if span.kind is kind)

    def kind_R(self) -> np.ndarray:
        """int8: the kind of each response token."""
        return np.repeat([span.kind for span in self.spans], [span.n for span in self.spans]).astype(np.int8)

    def advantage_R(self) -> np.ndarray:
        """float32: the advantage of each response token."""
        starts, values = zip(*self.advantages, strict=True)
        return np.repeat(np.float32(values), np.diff([*starts, len(self.response)]))


@dataclass(frozen=True)
class Packed:
    """The micro-batches of one update. Z counts the trained tokens of every decided response, computed or not."""

    microbatches: list[Microbatch]
    n_tokens: int  # Z: on-policy and off-policy tokens
    n_trained: int  # rows that are


class Member(NamedTuple):
    """Which member of which of some groups, and the columns of its response."""

    group: int
    place: int
    columns: slice


_Weighed = tuple[Row, tuple[float, float, float]]  # with what a token of each trained kind weighs


def pad_rows(rows: Sequence[Sequence[int]], n_rows: int, n_columns: int) -> np.ndarray:
    """int32 [n_rows, n_columns], each row from column 0, zeros behind it. Zero is never read: masks say what counts."""
    out = np.zeros((n_rows, n_columns), np.int32)
    for index, row in enumerate(rows):
        out[index, : len(row)] = row
    return out


def pack(groups: Sequence[Group], config, mesh: Mesh) -> Packed:
    """The micro-batches of one update: rows sorted by length, padded to buckets, under the token budget.

    Rows without advantage are left out of the computation but not of Z, which changes no gradient; with an entropy
    bonus or a KL they stay in. Members whose advantage is None leave both. `config`: the whole Config.
    """
    rows = [row for group in groups for row in _rows(group)]
    n_on_B, n_off_B, n_supervised_B = (np.array([row.count(kind) for row in rows], np.int32) for kind in TRAINED)
    budget = config.sample.response_budget
    on_B, off_B = NORMALISERS[config.loss.normaliser](n_on_B, n_off_B, budget)
    weights = zip(on_B, off_B, supervised_mean(n_supervised_B), strict=True)
    weighed = [(row, each) for row, each in zip(rows, weights, strict=True) if _is_computed(row, config)]
    weighed.sort(key=lambda pair: pair[0].length, reverse=True)
    microbatches = [micro for _, micro in _batches(weighed, config, mesh)]
    return Packed(microbatches, int(n_on_B.sum() + n_off_B.sum()), len(weighed))


def pack_members(groups: Sequence[Group], config, mesh: Mesh) -> Iterator[tuple[list[Member | None], Microbatch]]:
    """Micro-batches of every member that has a verdict, to be measured and not trained, each with whose rows it holds.
    Shapes are those of `pack`."""
    owners: dict[int, Member] = {}
    rows: list[_Weighed] = []
    for n, group in enumerate(groups):
        for place_, rollout in enumerate(group.members):
            if rollout.decided:
                row = _row(group, rollout, 0.0)
                owners[id(row)] = Member(n, place_, slice(len(row.prompt_ids), row.length))
                rows.append((row, (0.0, 0.0, 0.0)))
    rows.sort(key=lambda weighed: weighed[0].length, reverse=True)
    for taken, micro in _batches(rows, config, mesh):
        yield [each and owners[id(each[0])] for each in taken], micro


def _batches(rows: Sequence[_Weighed], config, mesh: Mesh) -> Iterator[tuple[list[_Weighed | None], Microbatch]]:
    """Rows of falling length, with what their tokens weigh, as micro-batches; None: a padding row."""
    shards, start = n_batch_shards(mesh), 0
    for n_rows, n_columns in split([row.length for row, _ in rows], UpdateShapes.of(config, shards)):
        taken = interleave_rows(rows[start : start + n_rows], shards, n_rows // shards)
        start += n_rows
        yield taken, place(_microbatch(taken, n_columns), mesh)


def on_policy_tokens(groups: Sequence[Group]) -> tuple[np.ndarray, np.ndarray]:
    """(the sampler's log-prob, the advantage) of every on-policy token of an update, float32."""
    rows = [row for group in groups for row in _rows(group)]
    masks = [row.kind_R() == Kind.ON_POLICY for row in rows]
    logp = [np.asarray(row.response.behaviour_logp, np.float32)[own] for row, own in zip(rows, masks, strict=True)]
    advantage = [row.advantage_R()[own] for row, own in zip(rows, masks, strict=True)]
    return tuple(np.concatenate([*parts, np.zeros(0, np.float32)]) for parts in (logp, advantage))


def _rows(group: Group) -> Iterator[Row]:
    """The group's members that have an advantage, then its lessons."""
    for rollout, advantage in zip(group.members, group.advantages, strict=True):
        if advantage is not None:
            yield _row(group, rollout, advantage)
    yield from map(_lesson_row, group.lessons)


def _row(group: Group, rollout: Rollout, advantage: Advantage) -> Row:
    prompt = group.prompt if rollout.trained_on is Context.GROUP else rollout.prompt
    segments = advantage if isinstance(advantage, tuple) else ((0, advantage),)
    return Row(prompt.ids, rollout.response, _checked(rollout), segments, group.entropy_scale)


def _checked(rollout: Rollout) -> tuple[Span, ...]:
    if (n := sum(span.n for span in rollout.spans)) != len(rollout.response):
        raise ValueError(
            f"the spans of round {rollout.round}, rollout {rollout.index} cover {n} tokens, its response has "
            f"{len(rollout.response)}"
        )
    return rollout.spans


def _lesson_row(lesson: Lesson) -> Row:
    """Its log-probs are never read: a supervised token has no ratio."""
    unread = np.zeros(len(lesson.tokens), np.float32)
    response = Response(lesson.tokens, unread, unread, truncated=False)
    spans = Span(lesson.train_from, Kind.UNTRAINED), Span(len(lesson.tokens) - lesson.train_from, Kind.SUPERVISED)
    return Row(lesson.prompt.ids, response, spans, ((0, lesson.weight),))


def _is_computed(row: Row, config) -> bool:
    """Whether any of its tokens may have a gradient, or is asked for."""
    has_advantage = any(value != 0 for _, value in row.advantages)
    return has_advantage or bool(row.entropy_scale) or row.is_supervised or keeps_all_rows(config)


def split(lengths: Sequence[int], shapes: UpdateShapes) -> list[tuple[int, int]]:
    """(rows, columns) of the micro-batches for rows of falling lengths: each takes the next rows, the last may not fill
    its own. As few padded tokens as the sizes allow, where a further micro-batch has a cost."""
    best: list[tuple[int, list[tuple[int, int]]]] = [(0, [])] * (len(lengths) + 1)  # of the rows from there on
    for start in reversed(range(len(lengths))):
        n_columns = shapes.n_columns(lengths[start])
        choices = []
        for n_rows in reversed(shapes.rows(n_columns)):
            cost, rest = best[min(start + n_rows, len(lengths))]
            choices.append((n_rows * n_columns + shapes.extra_batch_cost + cost, [(n_rows, n_columns), *rest]))
        best[start] = min(choices, key=lambda choice: choice[0])
    return best[0][1]


def place(micro: Microbatch, mesh: Mesh) -> Microbatch:
    """On the mesh. Of several processes, each holds all rows and sends its own devices theirs."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda rows: jax.make_array_from_callback(rows.shape, sharding, lambda at: rows[at]), micro)


def keeps_all_rows(config) -> bool:
    """Whether rows without advantage are computed too: they have a gradient, or are asked for."""
    has_bonus = config.loss.entropy_coef != 0 or config.loss.entropy_schedule == "adaptive"
    is_asked_for = config.loss.kl != "none" or config.advantage.zero_variance == "keep"
    return has_bonus or is_asked_for or acts_on_all_rows(config.loss)


def interleave_rows(rows: Sequence[T], shards: int, n_rows: int) -> list[T | None]:
    """`n_rows` rows for each shard in turns, None where it has no more: of rows sorted by length, no shard has
    two more than another, nor more tokens by more than the longest row has."""
    per_shard = [list(rows[shard::shards]) for shard in range(shards)]
    return [row for rows_of_one in per_shard for row in [*rows_of_one, *[None] * (n_rows - len(rows_of_one))]]


def _microbatch(rows: Sequence[_Weighed | None], n_columns: int) -> Microbatch:
    shape = len(rows), n_columns
    tokens_BT = pad_rows([row[0].prompt_ids if row else () for row in rows], *shape)
    kind_BT, entropy_scale_B = np.zeros(shape, np.int8), np.zeros(len(rows), np.float32)
    behaviour_logp_BT, sampled_logp_BT, advantage_BT, weight_BT = (np.zeros(shape, np.float32) for _ in range(4))
    for index, (row, weights) in [(index, row) for index, row in enumerate(rows) if row]:
        response = index, slice(len(row.prompt_ids), row.length)
        kind_R = row.kind_R()
        trained_R = kind_R != Kind.UNTRAINED
        tokens_BT[response] = row.response.tokens
        kind_BT[response] = kind_R
        behaviour_logp_BT[response] = np.where(trained_R, row.response.behaviour_logp, 0)
        sampled_logp_BT[response] = np.where(trained_R, row.response.sampled_logp, 0)
        advantage_BT[response] = np.where(trained_R, row.advantage_R(), 0)
        weight_BT[response] = np.float32((0, *weights))[kind_R]
        entropy_scale_B[index] = row.entropy_scale
    return Microbatch(
        tokens_BT=tokens_BT,
        kind_BT=kind_BT,
        behaviour_logp_BT=behaviour_logp_BT,
        sampled_logp_BT=sampled_logp_BT,
        old_logp_BT=behaviour_logp_BT,
        reference_logp_BT=np.zeros(shape, np.float32),
        advantage_BT=advantage_BT,
        weight_BT=weight_BT,
        entropy_scale_B=entropy_scale_B,
    )


def fetch(arrays):
    """Device arrays as numpy, in one transfer. On this process's devices, or the same on all."""
    return jax.device_get(arrays)


def fetch_rows(micro: Microbatch) -> dict[str, np.ndarray | dict]:
    """A micro-batch by field, from every process's devices: all must call it together."""
    return multihost_utils.process_allgather(micro, tiled=True)._asdict()


def tally_metrics(tally: dict, metrics: Mapping[str, Metric]) -> dict[str, float]:
    """One number for each metric of one update. A mean or a largest of no token is left out, never 0/0."""
    found = {name: (float(value), float(count)) for name, (value, count) in fetch(tally).items()}
    return {name: value / n if metrics[name].how == "mean" else value for name, (value, n) in found.items() if n}
