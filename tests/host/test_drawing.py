"""How a training step draws: the schedule's decay by step, and what is said of it before a run."""

import pytest

from lte_jax.config import AnnealingConfig, ConfigError, build
from lte_jax.host.drawing import SCHEDULES, drawing_warnings
from lte_jax.host.explore import Strategy
from lte_jax.records import Annealing

EAD = {"annealing": {"schedule": "decay"}}


def test_the_decay_grows_with_the_step_up_to_its_end():
    config = AnnealingConfig(schedule="decay")
    assert SCHEDULES["decay"](config, 0) == Annealing(1.2, 0.1, 500, 10)
    assert SCHEDULES["decay"](config, 100).decay == 10_500
    assert SCHEDULES["decay"](config, 7995).decay == SCHEDULES["decay"](config, 9000).decay == 800_000
    assert SCHEDULES["constant"](AnnealingConfig(), 3) is None
    with pytest.raises(ConfigError, match="annealing.high = 0.05 is below annealing.low = 0.1"):
        build({}, ["annealing.high=0.05"])


class Own(Strategy):
    """Says nothing of its tokens."""


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({}, []),
        ({"sample": {"top_k": 5}}, ["cuts the distribution"]),
        (EAD, ["loss.old_logp=trainer loss.correction=truncate", "loss.hinted_denominator=sampled"]),
        *((EAD | {"explore": {"strategy": name}}, ["takes the two for one policy"]) for name in ("grpo", "rose")),
        *(
            (EAD | {"explore": {"strategy": name}}, ["takes the two for one policy", "loss.hinted_denominator=sampled"])
            for name in ("solved", "test_drawing:Own")
        ),
        (EAD | {"loss": {"hinted_denominator": "sampled", "old_logp": "trainer", "correction": "truncate"}}, []),
        (
            EAD | {"loss": {"hinted_denominator": "one", "old_logp": "trainer", "correction": "reject"}},
            ["weighs up to 1 over its probability"],
        ),
        (
            EAD | {"explore": {"strategy": "grpo"}, "loss": {"entropy_schedule": "adaptive"}},
            ["takes the two for one policy", "follows an entropy that is weighed back"],
        ),
    ],
)
def test_what_a_way_to_draw_does_to_the_update_is_said(settings, parts):
    texts = drawing_warnings(build(settings))
    assert len(texts) == len(parts) and all(part in text for part, text in zip(parts, texts, strict=True))
