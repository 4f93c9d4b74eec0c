"""`lte methods` lists what is registered, a new one by itself."""

import json
from dataclasses import dataclass

import pytest
from commands import ROOT
from typer.testing import CliRunner

from lte_jax.cli import app
from lte_jax.config import load, unread
from lte_jax.host.credits import make_credits
from lte_jax.host.curricula import CURRICULA
from lte_jax.host.explore import Grpo
from lte_jax.host.strategies import STRATEGIES, make_strategy
from lte_jax.method import Method, Source
from lte_jax.plugins import arguments
from lte_jax.run.methods import REGISTRIES, listed


def said(*arguments):
    return CliRunner().invoke(app, ["methods", *arguments])


def test_every_registered_name_is_listed_a_new_one_by_itself(monkeypatch):
    @dataclass(frozen=True)
    class New(Grpo):
        METHOD = Method("an idea of today", "2601.00001", Source.OURS, "tries", cost="a coin")

    monkeypatch.setitem(STRATEGIES, "new", New)
    text = said().output
    for setting, registry in REGISTRIES.items():
        block = text.partition(f"{setting}:\n")[2].partition("\n\n")[0].splitlines()
        names = [line.split()[0] for line in block if not line.startswith("   ")]
        assert names == list(registry)
    assert "an idea of today [ours; 2601.00001]" in text
    listed = {(each["setting"], each["name"]): each for each in json.loads(said("--json").output)}
    assert listed["explore.strategy", "new"]["cost"] == "a coin" and len(listed) == sum(map(len, REGISTRIES.values()))


def test_one_method_says_its_settings_and_one_that_is_none_the_others():
    text = said("knapsack").output
    assert "paper: arXiv 2509.25849" in text and "most = 128: rollouts of one problem, at most" in text
    assert "page: docs/methods/curricula.md" in text
    (only,) = json.loads(said("expo", "--json").output)
    assert only["settings"]["beta"].startswith("weight of the explanations")
    wrong = said("expoo")
    assert wrong.exit_code != 0 and "expoo is none; wanted one of grpo, extra" in wrong.output


@pytest.mark.parametrize("each", [each for each in listed() if each.method], ids=lambda each: each.name)
def test_a_methods_configs_name_it_and_set_nothing_that_is_not_read(each):
    for name in each.method.configs:
        config = load(ROOT / "configs" / name)
        assert unread(config) == []
        values = config.model_dump()
        for part in each.setting.split("."):
            values = values[part]
        assert values == each.name or each.name in values
        strategy = make_strategy(config, None, None)
        assert strategy.tools.args is None or strategy.tools.args.model_dump().keys() >= config.explore.args.keys()
        curriculum = CURRICULA[config.curriculum.name]
        arguments("curriculum.args", config.curriculum.args, curriculum.Args)
        make_credits(config)
