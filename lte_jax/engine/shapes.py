"""The sizes that compiled programs come in: one place for what slots, packing, compiling ahead and planning agree on.

Each size stands in a short list, so that few programs serve; what runs takes the smallest that holds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lte_jax.config import Config, EngineConfig, OptimConfig


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def smallest(sizes: Sequence[int], n: int) -> int:
    """The first of the rising sizes that holds n, which is at most the last."""
    return next(size for size in sizes if n <= size)


def row_sizes(most: int) -> list[int]:
    """`most`, its half and its quarter: three sizes, so three programs."""
    return sorted({size for size in (most // 4, most // 2, most) if size})


def column_sizes(most: int, multiple: int) -> list[int]:
    """Five shares of `most` columns, each rounded up to a multiple: few programs."""
    return sorted({round_up(-(-most * eighths // 8), multiple) for eighths in (2, 3, 4, 6, 8)})


@dataclass(frozen=True)
class SamplerShapes:
    """Of one process: slots and prompts are rows of its mesh, columns are tokens. Each list is rising."""

    config: EngineConfig
    shards: int  # parts of the mesh that rows are split over
    max_prompt: int  # tokens
    response_budget: int  # tokens

    @property
    def slots(self) -> list[int]:
        most = max(1, self.config.slots // self.shards)
        return [self.shards * n for n in (row_sizes(most) if self.config.shrink else [most])]

    @property
    def columns(self) -> list[int]:
        """Of the cache."""
        return column_sizes(self.max_prompt + self.response_budget, self.config.length_bucket)

    @property
    def prompts(self) -> list[int]:
        """Rows of a prefill."""
        return [self.shards * n for n in row_sizes(-(-self.config.prefill_rows // self.shards))]

    def prompt_columns(self, forks: bool) -> list[int]:
        """Of a prefill: those of prompts, and longer ones where responses are continued (`forks`)."""
        prompts = column_sizes(self.max_prompt, self.config.length_bucket)
        return [*prompts, *(n for n in self.columns if n > prompts[-1])] if forks else prompts


@dataclass(frozen=True)
class UpdateShapes:
    """Of the micro-batches of an update, over the whole mesh."""

    config: OptimConfig
    shards: int
    longest: int  # tokens of a row

    @classmethod
    def of(cls, config: Config, shards: int) -> "UpdateShapes":
        return cls(config.optim, shards, config.prompt.budget + config.sample.response_budget)

    @property
    def columns(self) -> list[int]:
        bucket = self.config.length_bucket
        return list(range(bucket, round_up(self.longest, bucket) + 1, bucket))

    @property
    def extra_batch_cost(self) -> int:
        """Padded tokens that are as bad as a further micro-batch, in which many devices gather all weights again."""
        return self.config.microbatch_tokens // 4

    def n_columns(self, n_tokens: int) -> int:
        """Of a micro-batch whose longest row has n tokens."""
        return round_up(n_tokens, self.config.length_bucket)

    def rows(self, n_columns: int) -> list[int]:
        """That a micro-batch of so many columns may have, under the token budget."""
        return [self.shards * n for n in row_sizes(self.config.rows_per_shard(n_columns, self.shards))]

    @property
    def all(self) -> list[tuple[int, int]]:
        """Every (rows, columns)."""
        return [(rows, columns) for columns in self.columns for rows in self.rows(columns)]
