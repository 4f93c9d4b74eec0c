"""Which rows of a config may be longer than the positions of its model."""

import pytest

from lte_jax.config import ConfigError, build
from lte_jax.host.explore import Strategy
from lte_jax.host.strategies import STRATEGIES
from lte_jax.run.positions import check_positions, evaluation_rows, generation_rows, training_rows


def config(**changed):
    values = {
        "prompt": {"budget": 10, "hinted_budget": 20},
        "sample": {"response_budget": 100},
        "overlong": {"buffer": 5},
        "explore": {"strategy": "grpo"},
        "model": {"path": "M"},
    }
    return build(values | changed)


def test_hinted_prompts_count_where_they_are_drawn():
    plain = {"prompt.budget + sample.response_budget": 110}
    assert training_rows(config()) == generation_rows(config()) == plain
    hinted = {"prompt.hinted_budget + sample.response_budget": 120}
    assert training_rows(config(explore={"strategy": "lte"})) == plain | hinted
    assert generation_rows(config(explore={"strategy": "lte"})) == plain


class Own(Strategy):
    """Says nothing of its prompts."""


def test_whether_hinted_prompts_count_is_asked_of_the_strategy():
    names = [*STRATEGIES, "test_positions:Own"]
    counted = {name for name in names if len(training_rows(config(explore={"strategy": name}))) == 2}
    from_contexts = {"guided", "expo", "notes", "reflect", "evocot"}
    assert counted == {"lte", "restart", "test_positions:Own"} | from_contexts


def test_each_benchmark_counts_by_its_own_budget():
    benchmarks = [{"path": "a.jsonl", "response_budget": 300}, {"path": "b.jsonl"}]
    own = {"prompt.budget + response_budget of a.jsonl": 310, "prompt.budget + sample.response_budget": 110}
    assert evaluation_rows(config(eval={"benchmarks": benchmarks})) == own
    common = {"prompt.budget + eval.response_budget": 210}
    both = {"benchmarks": benchmarks[1:], "response_budget": 200}
    assert evaluation_rows(config(eval=both)) == common
    assert training_rows(config(eval=both)) == {"prompt.budget + sample.response_budget": 110}  # never evaluated
    assert training_rows(config(eval=both | {"every": 1})) == {"prompt.budget + sample.response_budget": 110} | common


def test_longer_rows_are_refused_by_name_or_said():
    rows, lines = {"a": 10, "b": 11, "c": 12}, []
    wanted = r"^M was made for 10 positions \(config.json\), and b = 11; c = 12: lower .*beyond_max_positions=allow$"
    with pytest.raises(ConfigError, match=wanted):
        check_positions(config(), rows, 10, lines.append)
    assert lines == []
    allowed = config(model={"path": "M", "beyond_max_positions": "allow"})
    check_positions(allowed, rows, 12, lines.append)
    assert lines == []
    check_positions(allowed, rows, 10, lines.append)
    assert len(lines) == 1 and "b = 11; c = 12" in lines[0]
