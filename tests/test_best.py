"""RUN/best: replaced only by what is better, whole at any moment, a run folder by itself."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import tiny

from lte_jax.config import ConfigError
from lte_jax.model_io.checkpoint import MODEL, open_model
from lte_jax.model_io.convert import export_params
from lte_jax.run import best


@pytest.fixture
def run(tmp_path):
    """A run folder as far as it matters here."""
    export_params(tmp_path / MODEL, tiny.ARCH, tiny.params(), dtype="float32", stop_ids=(0,))
    (tmp_path / "config.yaml").write_text("seed: 3\n")
    return tmp_path


def found(value: float) -> dict:
    return {"a": {"pass_at_1": value, "pass_at_4": 1.0}, "b": {"pass_at_1": 0.5, "pass_at_4": 0.0}}


def keep(run, step: int, value: float, wanted: str = "a/pass_at_1", seed: int = 0) -> bool:
    return best.keep_if_best(run, step, tiny.params(seed=seed), wanted, found(value))


def loaded(folder):
    return jax.tree.leaves(open_model(folder, tiny.mesh()).load())


def test_the_best_is_kept_and_opens_as_a_model(run):
    assert keep(run, 0, 0.2, seed=0) and keep(run, 5, 0.4, seed=1)
    assert not keep(run, 10, 0.4, seed=2) and not keep(run, 15, 0.1, seed=3)
    assert json.loads((run / "best/score.json").read_text()) == {"measure": "a/pass_at_1", "value": 0.4, "step": 5}
    for ours, expected in zip(loaded(run / "best"), jax.tree.leaves(tiny.params(seed=1)), strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert (run / "best/config.yaml").read_text() == "seed: 3\n"
    assert [path.name for path in (run / "best/checkpoints").iterdir()] == ["5"]


def test_another_measure_starts_anew(run):
    assert keep(run, 0, 0.9) and keep(run, 5, 0.3, "pass_at_4")
    assert json.loads((run / "best/score.json").read_text())["value"] == 0.5


@pytest.mark.parametrize("killed_at", ["between the moves", "after them", "while writing"])
def test_a_kill_leaves_a_whole_one(run, killed_at):
    keep(run, 0, 0.5)
    if killed_at == "between the moves":
        (run / "best").rename(run / "best.old")
    elif killed_at == "after them":
        (run / "best.old").mkdir()
    else:
        (run / "best.partial").mkdir()
    assert not keep(run, 5, 0.4, seed=1)
    assert json.loads((run / "best/score.json").read_text())["value"] == 0.5 and loaded(run / "best")
    assert keep(run, 5, 0.6, seed=1) and not (run / "best.old").exists()


def test_a_measure_that_no_evaluation_gives_is_refused(tmp_path, monkeypatch):
    benchmarks = [SimpleNamespace(name="a", k=(4,)), SimpleNamespace(name="b", k=(16,))]
    for wanted in ("pass_at_1", "majority", "a/pass_at_4", "b/pass_at_16"):
        best.check_measure(wanted, benchmarks, tmp_path)
    for wanted in ("pass_at_4", "a/pass_at_16", "c/pass_at_1", "length_mean"):
        with pytest.raises(ConfigError, match="wanted one of majority, pass_at_1, a/pass_at_1"):
            best.check_measure(wanted, benchmarks, tmp_path)
    monkeypatch.setattr("fsspec.get_filesystem_class", lambda protocol: None)  # gcsfs need not be here
    with pytest.raises(ConfigError, match="wanted a run folder on a disk, got gs://bucket/run"):
        best.check_measure("majority", benchmarks, "gs://bucket/run")
    assert best.score(found(0.1), "pass_at_1") == pytest.approx(0.3)
    assert best.score(found(0.1), "b/pass_at_1") == 0.5
