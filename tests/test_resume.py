"""Runs that go on: those of older versions, with other settings, from moved files; and what is refused by name.

All of them continue the run of two steps that `fixtures/make_run.py` made with the code of commit b4ecf5c, in this
process and on one device.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny

from lte_jax import config, session, train
from lte_jax.host.verify import Verifier
from lte_jax.report.files import read_metrics, read_rollouts
from lte_jax.report.live import Live

OLD = Path(__file__).parent / "fixtures/run_b4ecf5c"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A copy of the folder in which the old run was made, and from which it is continued."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def verifier():
    with Verifier(workers=1) as started:
        yield started


class Said(Live):
    """What a run says, as a list."""

    def __init__(self):
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(text)

    def __contains__(self, part: str) -> bool:
        return any(part in line for line in self.lines)


@pytest.fixture
def go_on(verifier, monkeypatch):
    """Continues the run with these overrides; returns what it said."""
    monkeypatch.setattr(session, "make_mesh", lambda _: tiny.mesh())

    def continued(*overrides: str, run: str = "run", **given) -> Said:
        said = Said()
        train.train(config.load(f"{run}/config.yaml", overrides), run, verifier, said, **given)
        return said

    return continued


def test_a_run_of_an_older_version_goes_on_as_that_version_would(place, go_on):
    """The same problems and responses, and metrics to what another order of sums may change."""
    said = go_on("steps=3", "eval.every=0")
    assert "continuing" in said and "at step 2" in said
    drawn = [group for group in read_rollouts(place / "run") if group["step"] == 2]
    expected = [json.loads(line) for line in (place / "continued/rollouts.jsonl").read_text().splitlines()]
    for ours, theirs in zip(drawn, expected, strict=True):
        assert (ours["id"], ours["prompt"]) == (theirs["id"], theirs["prompt"])
        assert [r["response"] for r in ours["rollouts"]] == [r["response"] for r in theirs["rollouts"]]
    rows, wanted = read_metrics(place / "run"), json.loads((place / "continued/metrics.json").read_text())
    assert [row["step"] for row in rows] == [0, 1, 2] and rows[2]["policy/kl"] > 0.01
    for key in ("policy/kl", "policy/entropy", "update/grad_norm", "ratio/on_policy_max", "update/n_updates"):
        np.testing.assert_allclose(rows[2][key], wanted[key], rtol=1e-3)
