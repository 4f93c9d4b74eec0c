"""A curriculum of a user's own drives the loop: unequal groups, a memory that is saved, and a run that goes on.

The run's base and problems are those of fixtures/run_b4ecf5c; everything happens in this process, on one device.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from commands import checkpoint_arrays, without_times

from lte_jax import config
from lte_jax.host.verify import Verifier
from lte_jax.run import session, train
from lte_jax.storage.run_files import read_metrics, read_rollouts
from lte_jax.terminal.live import Live

OLD = Path(__file__).parent / "fixtures/run_b4ecf5c"
UNEVEN = ["curriculum.name=uneven:Uneven", "curriculum.args={most: 6}"]


@pytest.fixture
def run_to(tmp_path, monkeypatch):
    """Trains a run of that name to a step, or goes on with it."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session, "make_mesh", lambda _: tiny.mesh())
    settings = config.load(OLD / "run/config.yaml", ["eval.every=0", "explore.strategy=extra", *UNEVEN])

    def trained(run: str, steps: int) -> Path:
        values = settings.model_dump() | {"steps": steps}
        with Verifier(workers=1) as verifier:
            train.train(config.build(values), run, verifier, Live(quiet=True))
        return tmp_path / run

    return trained


def memory(run: Path) -> dict:
    newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    return json.loads((newest / "host/metadata").read_text())["curriculum"]


def test_a_run_with_unequal_groups_and_a_memory_goes_on_bit_for_bit(run_to):
    straight, stopped = run_to("straight", 2), run_to("stopped", 1)
    assert memory(stopped)["steps"] == 1
    run_to("stopped", 2)
    groups = list(read_rollouts(straight))
    sizes = [[len(group["rollouts"]) for group in groups if group["step"] == step] for step in range(2)]
    assert sizes == [[1, 2, 3, 4], [5, 6, 1, 2]]  # the memory has 10 outcomes after the first step
    assert all(len(a["rollouts"]) == len(group["rollouts"]) for group in groups for a in group["attempts"])
    assert len({group["id"] for group in groups if group["group"] == 0}) == 1
    assert groups == list(read_rollouts(stopped))
    assert without_times(read_metrics(straight)) == without_times(read_metrics(stopped))
    assert all(np.array_equal(a, b) for a, b in zip(*map(checkpoint_arrays, (straight, stopped)), strict=True))
    assert memory(straight) == memory(stopped) and memory(straight)["steps"] == 2
