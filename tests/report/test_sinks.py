"""Metrics beside the run's own files: to TensorBoard's event files and to W&B, only where they are asked for."""

import json
import sys
from types import SimpleNamespace

import pytest
from etils import epath

from lte_jax.config import ConfigError, build
from lte_jax.storage.sinks import Sinks

ROW = {"step": 4, "policy/entropy": 0.5, "rescue/used_hist": [1, 2]}


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package, which keeps what it is told."""
    told = SimpleNamespace(inits=[], logged=[], finished=0, no_key=False)

    class Error(Exception):
        pass

    def init(**given):
        told.inits.append(given)
        if told.no_key and given.get("mode") != "offline":
            raise Error("api_key not configured (no-tty).\nCall wandb.login")
        run = SimpleNamespace(id=given["id"] or "made-up")
        run.log = lambda values, step: told.logged.append((step, values))
        run.finish = lambda: setattr(told, "finished", told.finished + 1)
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, errors=SimpleNamespace(Error=Error)))
    return told


def events(folder) -> list:
    """Every event in a folder's event files, in the order of writing."""
    from tensorboardX import proto

    found = []
    for path in sorted(folder.glob("events*")):
        data, at = path.read_bytes(), 0
        while at < len(data):  # length, its checksum, the event, its checksum
            size = int.from_bytes(data[at : at + 8], "little")
            found.append(proto.event_pb2.Event.FromString(data[at + 12 : at + 12 + size]))
            at += 16 + size
    return found


def test_nothing_is_written_by_default(tmp_path):
    with Sinks(build({}), tmp_path) as sinks:
        sinks.write(5, ROW)
    assert list(tmp_path.iterdir()) == []


def test_one_of_several_processes_writes(tmp_path, wandb):
    with Sinks(build({"log": {"tensorboard": True, "wandb": "project"}}), tmp_path, writes=False) as sinks:
        sinks.write(5, ROW)
    assert list(tmp_path.iterdir()) == [] and wandb.inits == []


def test_tensorboard_gets_the_numbers(tmp_path):
    pytest.importorskip("tensorboardX", reason="no tensorboardX: pip install -e '.[tensorboard]'")
    with Sinks(build({"log": {"tensorboard": True}}), tmp_path) as sinks:
        sinks.write_evaluation(4, {"math": {"pass_at_1": 0.25}})
        sinks.write(5, ROW)
    found = events(tmp_path / "tensorboard")
    scalars = [(event.step, value.tag, value.simple_value) for event in found for value in event.summary.value]
    assert scalars == [(4, "eval/math/pass_at_1", 0.25), (5, "policy/entropy", 0.5)]
    starts = [event.step for event in found if event.WhichOneof("what") == "session_log"]
    assert starts == [4]  # what TensorBoard has from this step on is of an earlier start, and goes


def test_wandb_gets_the_settings_and_the_numbers(tmp_path, wandb):
    with Sinks(build({"seed": 3, "log": {"wandb": "project"}}), tmp_path) as sinks:
        sinks.write(5, ROW)
    (given,) = wandb.inits
    assert given["project"] == "project" and given["config"]["seed"] == 3 and given["save_code"] is False
    assert wandb.logged == [(5, {"policy/entropy": 0.5})] and wandb.finished == 1


def test_wandb_without_a_key_goes_on_offline_with_one_line(tmp_path, wandb):
    wandb.no_key, said = True, []
    with Sinks(build({"log": {"wandb": "project"}}), tmp_path, say=said.append) as sinks:
        sinks.write(5, ROW)
    online, offline = wandb.inits
    assert offline == {**online, "mode": "offline"} and wandb.logged == [(5, {"policy/entropy": 0.5})]
    (line,) = said
    assert line.startswith("log.wandb = project: going on offline") and "\n" not in line
    assert "api_key not configured (no-tty). Call wandb.login" in line


def test_a_resumed_run_keeps_its_wandb_id(tmp_path, wandb):
    config = build({"log": {"wandb": "project"}})
    for _ in range(2):
        with Sinks(config, tmp_path):
            pass
    assert [given["id"] for given in wandb.inits] == [None, "made-up"]
    assert json.loads((tmp_path / "wandb.json").read_text()) == {"id": "made-up"}


@pytest.mark.parametrize(("log", "package"), [({"tensorboard": True}, "tensorboardX"), ({"wandb": "project"}, "wandb")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, log, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"needs {package}: pip install"):
        Sinks(build({"log": log}), tmp_path)


def test_a_bucket_is_no_place_for_event_files():
    with pytest.raises(ConfigError, match="wanted a run folder there, got gs://bucket/run"):
        Sinks(build({"log": {"tensorboard": True}}), epath.Path("gs://bucket/run"))
