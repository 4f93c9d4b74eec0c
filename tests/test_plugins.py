"""Names in a config that stand for code: those of the package, and a user's own package outside of the repository."""

import json
import sys
from importlib import import_module

import numpy as np
import plugin_package
import pytest
from commands import checkpoint_arrays, lte, make_base, small_run, without_times
from etils import epath
from pydantic import BaseModel

from lte_jax.config import ConfigError, Kind, build
from lte_jax.device import objectives
from lte_jax.device.regularisers import REGULARISERS
from lte_jax.host.credits import CREDITS, make_credits
from lte_jax.host.curricula import CURRICULA, make_curriculum
from lte_jax.host.labels import LABELS, make_label
from lte_jax.host.strategies import STRATEGIES, make_strategy
from lte_jax.metric import Metric, by_name
from lte_jax.plugins import arguments, resolve
from lte_jax.run import inputs
from lte_jax.storage.run_files import declared_metrics, read_metrics, read_rollouts


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def on_the_path(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(plugin_package.write(tmp_path / "elsewhere"))
    yield import_module("someones_methods")
    sys.modules.pop("someones_methods")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ltee", "did you mean lte? wanted one of grpo, extra, lte, luffy, guided,"),
        ("no_such_module:Name", "cannot load it (ModuleNotFoundError: No module named 'no_such_module')"),
        ("json:Nothing", "cannot load it (AttributeError: module 'json' has no attribute 'Nothing')"),
        (":Name", "cannot load it (ValueError: Empty module name)"),
        ("json:__name__", "wanted a builtins.type, got str"),
    ],
)
def test_a_name_that_leads_nowhere_says_so(name, said):
    with pytest.raises(ConfigError) as error:
        resolve("explore.strategy", name, STRATEGIES, type)
    assert f"explore.strategy = {name}: {said}" in str(error.value)


def test_a_class_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match="wanted a subclass of lte_jax.host.explore.Strategy"):
        make_strategy(build({"explore": {"strategy": "json:JSONDecoder"}}), None, None)
    with pytest.raises(ConfigError, match="wanted a subclass of lte_jax.host.curriculum.Curriculum"):
        make_curriculum(build({"curriculum": {"name": "json:JSONDecoder"}}), [], None)
    with pytest.raises(ConfigError, match="wanted a subclass of lte_jax.host.credit.Credit"):
        make_credits(build({"advantage": {"credits": ["json:JSONDecoder"]}}))
    with pytest.raises(ConfigError, match="wanted a subclass of lte_jax.host.labels.Label"):
        make_label(build({"explore": {"labels": "json:JSONDecoder"}}), None, None)


def test_settings_of_a_plug_in_are_its_models():
    class Settings(BaseModel, extra="forbid"):
        n: int = 2

    assert arguments("explore.args", {"n": 3}, Settings) == Settings(n=3)
    assert arguments("explore.args", {}, None) is None
    with pytest.raises(ConfigError, match=r"explore.args: m: Extra inputs.*got 3; its settings are n"):
        arguments("explore.args", {"m": 3}, Settings)
    with pytest.raises(ConfigError, match="has no settings of its own, got {'n': 3}"):
        make_strategy(build({"explore": {"strategy": "extra", "args": {"n": 3}}}), None, None)
    with pytest.raises(ConfigError, match="settings for x:Y, which advantage.credits does not name"):
        make_credits(build({"advantage": {"args": {"x:Y": {}}}}))


def test_the_names_that_the_settings_know_are_those_of_the_code():
    """config.py reads no code, so it spells them; a name in one place alone would be refused, or never found."""
    known = {
        ("explore", "strategy"): STRATEGIES,
        ("curriculum", "name"): CURRICULA,
        ("explore", "labels"): LABELS,
        ("loss", "on_policy_objective"): objectives.ON_POLICY_OBJECTIVES,
        ("loss", "hinted_objective"): objectives.HINTED_OBJECTIVES,
        ("loss", "supervised_objective"): objectives.SUPERVISED_OBJECTIVES,
    }
    several = {("advantage", "credits"): CREDITS, ("loss", "regularisers"): REGULARISERS}
    for (section, name), code in (known | several).items():
        with pytest.raises(ConfigError) as error:
            build({section: {name: ["?"] if (section, name) in several else "?"}})
        assert f"wanted one of {', '.join(code)}, or" in str(error.value)


def test_a_metric_is_declared_once():
    with pytest.raises(ValueError, match="declared twice: .'a/b'"):
        by_name(Metric("a/b"), Metric("a/b", "max"))


def test_an_objective_of_ones_own_reads_its_settings_and_shows_its_metrics(on_the_path):
    config = build({}, plugin_package.OVERRIDES).loss
    objective, args = objectives.chosen(config, "on_policy")
    assert objective is on_the_path.SQUARED and args.n == 4
    tokens = objectives.TokenInputs(np.log(np.float32([1, 2])), np.float32([1, -3]), None, None, True, args)
    value, shown = objective.value(tokens, config)
    np.testing.assert_allclose(value, [1, -6 - 4 * 3], rtol=1e-6)
    np.testing.assert_allclose(shown["squared/penalty"], [0, 3], rtol=1e-6, atol=1e-12)


def test_code_of_ones_own_is_an_input_whose_change_is_noticed(on_the_path):
    """As data are: a continued run must not go on with another strategy, label, credit, curriculum or loss."""
    config = build({}, plugin_package.OVERRIDES)
    names = dict(inputs._plug_ins(config))
    settings = {"explore.strategy", "explore.labels", "curriculum.name", "loss.on_policy_objective"}
    of_several = {"advantage.credits": "Late", "features": "LIKELY", "loss.regularisers": "NEAR"}
    assert names.keys() == settings | {f"{name}: someones_methods:{own}" for name, own in of_several.items()}
    assert {inputs.module_file(name) for name in names.values()} == {on_the_path.__file__}
    before = {name: "1" for name in names}
    changed = list(inputs.content_changes(before, {**before, "explore.strategy": "2"}))
    assert [(one.name, one.kind) for one in changed] == [("explore.strategy", Kind.METHOD)]
    assert all(name.partition(":")[0] in inputs.KINDS for name in names)


@pytest.mark.parametrize("n_devices", [1, 8])
def test_a_package_outside_of_the_repository_trains_stops_and_goes_on(base, tmp_path, n_devices):
    """Without an edit of this one: four steps at once, and two steps, a stop, and two more, are the same to the bit."""
    runs = [tmp_path / "whole", tmp_path / "resumed"]
    environment = {
        "PYTHONPATH": plugin_package.write(tmp_path / "elsewhere"),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={n_devices}",
    }
    for run, steps in ((runs[0], 4), (runs[1], 2), (runs[1], 4)):
        lte(*small_run(base, run, *plugin_package.OVERRIDES, f"steps={steps}"), **environment)
    rows = [without_times(read_metrics(epath.Path(run))) for run in runs]
    assert rows[0] == rows[1]
    for ours, theirs in zip(*map(checkpoint_arrays, runs), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    trained = [row for row in rows[0] if "squared/penalty" in row]
    assert trained and all(row["squared/penalty_max"] >= row["squared/penalty"] >= 0 for row in trained)
    assert all(row["supervised/neg_logp"] > 0 for row in rows[0])
    assert sum(row["update/n_updates"] for row in rows[0]) + rows[0][-1]["update/n_skipped_total"] == 4 * (2 + 1)
    assert all(row["supervised/tokens"] > 0 for row in rows[0])  # lessons alone are an update, too
    host = json.loads((runs[0] / "checkpoints/4/host/metadata").read_text())
    assert host["memory"] == {"steps": 4} and host["credit_memory"]["someones_methods:Late"]["groups"] == 32
    assert host["curriculum"]["steps"] == 4
    groups = list(read_rollouts(epath.Path(runs[0])))
    members = [r for g in groups for part in (g, *g["attempts"]) for r in part["rollouts"] if r["member"]]
    assert host["credit_memory"]["someones_methods:Late"]["tokens"] == sum(r["tokens"] for r in members)
    gaps = [row["near/gap"] for row in trained]
    assert max(gaps) > 0 and host["regularisers"]["someones_methods:NEAR"]["weight"] == pytest.approx(0.1 + sum(gaps))
    labelled = [r for r in members if "verified" in r]
    assert labelled and all(r["verified"]["correct"] and not r["correct"] for r in labelled)
    assert any(row["label/agrees_frac"] < 1 for row in rows[0] if "label/agrees_frac" in row)
    assert {len(group["rollouts"]) for group in groups} == {2, 3, 4}
    asked = [[(a["purpose"], len(a["rollouts"])) for a in g["attempts"]] for g in groups]
    assert [("note", 1), ("solution", 3)] in asked and all(
        each in ([], [("note", 1), ("solution", 3)]) for each in asked
    )
    taken = [{name: value for name, value in g["decisions"].items() if "kept" not in name} for g in groups]
    assert taken == [{"1/n": 3} if g["attempts"] else {} for g in groups]
    assert all("0/kept, round 0" in g["decisions"] for g in groups if any("verified" in r for r in g["rollouts"]))
    retried = [g for g in groups if g["attempts"]]
    assert all("correct" not in g["attempts"][0]["rollouts"][0] for g in retried)
    forks = [(g["rollouts"][0], g["attempts"][1]["rollouts"][0]) for g in retried]
    assert all(fork["given"] == first["tokens"] // 2 and fork["tokens"] > fork["given"] for first, fork in forks)
    assert {(g["step"] % 2, *(r["given"] for r in g["rollouts"][-2:])) for g in groups} == {(0, 0, 0), (1, 0, 1)}
    assert any(isinstance(a, list) for g in groups for a in g["advantages"])
    shown = {metric.name for metric in declared_metrics(epath.Path(runs[0]))}
    assert {"squared/penalty", "squared/penalty_max", "supervised/tokens", "near/gap", "label/agrees_frac"} <= shown
