"""Each arm of configs/methods-study.yaml trains: two steps of each, one after another in one process."""

import pytest
import yaml
from commands import ROOT, lte, make_base

from lte_jax.storage.run_files import read_metrics

CONFIG = ROOT / "configs/methods-study.yaml"
ARMS = yaml.safe_load(CONFIG.read_text())["study"]["arms"]
SMALLER = ("steps=2", "problems_per_step=8", "optim.problems_per_update=8", "engine.slots=32", "checkpoint.every=2")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.mark.slow
@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_trains(arm, base, tmp_path):
    settings = [*ARMS[arm], *([] if "sample.group_size=2" in ARMS[arm] else ["sample.group_size=4"])]
    lte("train", CONFIG, *base, "eval.every=0", *SMALLER, *settings, "--run", tmp_path / "run")
    rows = read_metrics(tmp_path / "run")
    assert [row["step"] for row in rows] == [0, 1] and all(row["sample/tokens"] > 0 for row in rows)
