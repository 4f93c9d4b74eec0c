"""Runs that go on: those of older versions, with other settings, from moved files; and what is refused by name.

All of them continue the run of two steps that `fixtures/make_run.py` made with the code of commit b4ecf5c, in this
process and on one device.
"""

import json
import os
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tiny
import yaml
from typer.testing import CliRunner

from lte_jax import config
from lte_jax.cli import app
from lte_jax.config import ConfigError
from lte_jax.host.verify import Verifier
from lte_jax.model_io.checkpoint import open_model
from lte_jax.report.page import overview
from lte_jax.report.page.source import read_runs
from lte_jax.run import session, starting, train
from lte_jax.run.evaluate import evaluate
from lte_jax.run.inputs import content_changes, module_file, read_contents
from lte_jax.run.run_folder import RunFolder
from lte_jax.run.starting import StartingWeights
from lte_jax.storage import run_config
from lte_jax.storage.paths import open_path, refuse_overlap
from lte_jax.storage.run_config import changes
from lte_jax.storage.run_files import read_metrics, read_rollouts, write_change
from lte_jax.terminal.live import Live

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
    """Continues a run with these overrides, or begins another as its config says; returns what it said."""
    monkeypatch.setattr(session, "make_mesh", lambda _: tiny.mesh())

    def continued(*overrides: str, settings: str = "run/config.yaml", run: str = "run", change: bool = False) -> Said:
        said = Said()
        train.train(config.load(settings, overrides), run, verifier, said, change)
        return said

    return continued


def test_a_run_of_an_older_version_goes_on_as_that_version_would(place, go_on):
    """The same problems and responses, and metrics to what another order of sums may change."""
    said = go_on("steps=3", "eval.every=0")
    assert "continuing" in said and "at step 2" in said
    as_expected(place)
    assert len(json.loads((place / "run/starting.json").read_text())["digest"]) == 64


def as_expected(place: Path) -> None:
    """The third step, beside what the version that began the run made of it."""
    drawn = [group for group in read_rollouts(place / "run") if group["step"] == 2]
    expected = [json.loads(line) for line in (place / "continued/rollouts.jsonl").read_text().splitlines()]
    for ours, theirs in zip(drawn, expected, strict=True):
        assert (ours["id"], ours["prompt"]) == (theirs["id"], theirs["prompt"])
        assert [r["response"] for r in ours["rollouts"]] == [r["response"] for r in theirs["rollouts"]]
    rows, wanted = read_metrics(place / "run"), json.loads((place / "continued/metrics.json").read_text())
    assert [row["step"] for row in rows] == [0, 1, 2] and rows[2]["policy/kl"] > 0.01
    for key in ("policy/kl", "policy/entropy", "update/grad_norm", "ratio/on_policy_max", "update/n_updates"):
        # The weights are the same; a log-prob is off by 1e-4 at most (rounding.py), a KL of .01 by a tenth of that
        np.testing.assert_allclose(rows[2][key], wanted[key], rtol=1e-3)


def test_a_finished_evaluation_is_not_made_again(place, go_on, monkeypatch):
    drawn = []
    monkeypatch.setattr(train, "evaluate", lambda *rest, **named: drawn.append(1) or evaluate(*rest, **named))
    stored = place / "run/eval/000002.jsonl"
    go_on()  # an older version did not say what it was made with
    assert len(drawn) == 1
    whole = stored.read_text()
    said = go_on("eval.keep_best=pass_at_1")
    assert len(drawn) == 1 and stored.read_text() == whole and "the best so far by pass_at_1" in said
    stored.write_text(whole.rpartition('{"benchmark"')[0])  # a problem is missing
    go_on()
    assert len(drawn) == 2 and stored.read_text() == whole
    go_on("eval.samples=3")
    assert len(drawn) == 3 and len(json.loads(stored.read_text().splitlines()[1])["correct"]) == 3
    heldout = place / "data/heldout.jsonl"
    heldout.write_text(heldout.read_text().replace('"answer": "', '"answer": "1'))
    said = go_on("eval.samples=3")
    assert len(drawn) == 4 and "other problems than in the evaluations before: eval.benchmarks: heldout" in said


def test_levers_of_memory_and_speed_may_change(place, go_on):
    """All of them at once: the same responses and figures, and the run's record says what changed."""
    levers = [
        "engine={slots: 8, shrink: false, chunk: 5, overlap: 2, verdict_lag: 1, prefill_rows: 2, length_bucket: 16}",
        *("optim.microbatch_tokens=32", "optim.length_bucket=8", "optim.moments=host"),
        *("model.remat=none", "model.logprob_chunk=7", "model.attention=reference", "model.scan_layers=true"),
    ]
    said = go_on("steps=3", "eval.every=0", *levers)
    assert "with other settings of memory and speed" in said and "engine.slots (16 -> 8)" in said
    (row,) = map(json.loads, (place / "run/changes.jsonl").read_text().splitlines())
    assert (row["step"], row["kind"], row["changed"]["optim.microbatch_tokens"]) == (2, "layout", [16384, 32])
    assert config.load(place / "run/config.yaml").engine.slots == 8
    as_expected(place)


def levers_of_the_table() -> set[str]:
    """The settings that docs/troubleshooting.md names against a lack of memory."""
    text = (Path(__file__).parents[1] / "docs/troubleshooting.md").read_text()
    section = text.partition("## Out of memory")[2].partition("\n## ")[0]
    known = {name for name, _, _ in config.fields()}
    found = {word.partition("=")[0] for word in re.findall(r"`([\w.=-]+)`", section)}
    return {name for name in found if name in known}


def test_the_documents_name_every_lever():
    text = (Path(__file__).parents[1] / "docs/resuming.md").read_text()
    assert [name for name in run_config.levers().split(", ") if f"`{name}`" not in text] == []


OTHER = {"mesh.fsdp": 1, "mesh.tensor": 2, "engine.slots": 1, "sample.response_budget": 4, "loss.kl": "none"}
OTHER |= {"optim.microbatch_tokens": 8, "optim.moments": "host", "model.remat": "none", "model.logprob_chunk": 3}
OTHER |= {"verify.workers": 2, "verify.memory_mb": 99}


def test_each_lever_of_the_out_of_memory_table_works_on_a_run_that_ran_out(place):
    named = levers_of_the_table()
    assert named == OTHER.keys() and len(named) > 8
    for name, value in OTHER.items():
        is_method = dict(config.kinds())[name] is config.METHOD
        assert is_method == (name in ("sample.response_budget", "loss.kl"))
        changed = config.load(place / "run/config.yaml", [f"{name}={value}"])
        if is_method:
            with pytest.raises(
                ConfigError, match=rf"other settings: {name} .* add --change: .*engine\.\*.* mesh\.\*\)"
            ):
                opened(place, changed)
        opened(place, changed, change=is_method)
        assert config.load(place / "run/config.yaml") == changed
    shutil.rmtree(place / "run/checkpoints")  # it ran out in its first step
    opened(place, config.build(changed.model_dump(), ["engine.slots=2"]))


def opened(place, changed, contents=None, **given) -> None:
    with RunFolder(place / "run", changed, contents or {}, open_path(place / "base"), print, **given):
        pass


def test_another_training_goes_on_with_change_and_is_written_down(place, go_on):
    (place / "run/rollouts/000002.jsonl").write_text((place / "run/rollouts/000001.jsonl").read_text())
    with pytest.raises(ConfigError, match=r"seed \(0 -> 1\). Give it another folder"):
        go_on("steps=3", "seed=1")
    assert not (place / "run/changes.jsonl").exists() and config.load(place / "run/config.yaml").seed == 0
    folder = place / "run"
    opened(place, config.load(folder / "config.yaml", ["seed=1", "steps=3"]), change=True)
    assert not (folder / "rollouts/000002.jsonl").exists()  # its verdicts are not replayed
    said = go_on("eval.every=0", "sample.temperature=0.5", change=True)
    assert "from step 2 on with another training, as --change says: sample.temperature (1.0 -> 0.5)" in said
    rows = [json.loads(line) for line in (folder / "changes.jsonl").read_text().splitlines()]
    assert [(row["step"], row["kind"], row["changed"]) for row in rows] == [
        (2, "method", {"seed": [0, 1]}),
        (2, "method", {"sample.temperature": [1.0, 0.5]}),
    ]
    with pytest.raises(AssertionError):  # other problems in another order, drawn by other keys
        as_expected(place)


def test_more_steps_are_another_training_where_the_rate_falls_with_them(place):
    falling = config.load(place / "run/config.yaml", ["optim.schedule=cosine"])
    longer = config.build(falling.model_dump(), ["steps=9"])
    assert [(c.name, c.kind) for c in changes(falling, longer)] == [("steps", config.METHOD)]
    longer = config.load(place / "run/config.yaml", ["steps=9"])
    assert [c.kind for c in changes(config.load(place / "run/config.yaml"), longer)] == [config.APART]


def test_a_setting_that_is_gone_is_left_out_where_it_did_nothing(place, monkeypatch):
    monkeypatch.setattr(run_config, "REMOVED", {"optim.gone": 3, "section.gone": False})
    path, said = place / "run/config.yaml", []
    values = yaml.safe_load(path.read_text())
    assert "at_start" not in values["eval"]  # it came later
    values["optim"]["gone"] = 3
    path.write_text(yaml.safe_dump(values))
    assert run_config.load_run(path, said.append).eval.at_start
    assert len(said) == 1 and "optim.gone = 3 is left out" in said[0]
    values["optim"]["gone"] = 4
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match="optim.gone = 4: this version has no such setting, and is what 3 was"):
        run_config.load_run(path, said.append)
    path.write_text("optim: {never: 3}")
    with pytest.raises(ConfigError, match="unknown key optim.never"):
        run_config.load_run(path, said.append)


def test_other_starting_weights_are_refused_wherever_they_lie(place, go_on):
    said = go_on("steps=3", "eval.every=0")
    assert "the version that began this run did not record its starting weights" in said
    weights, moved = place / "base/model.safetensors", place / "elsewhere"
    shutil.copytree(place / "base", moved / "base")
    shutil.copytree(place / "data", moved / "data")
    before = (place / "run/config.yaml").read_text()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ConfigError, match="model.path = base: other weights .* than this run started from"):
        go_on("steps=4")
    assert (place / "run/config.yaml").read_text() == before
    said = go_on("steps=4", "eval.every=0", f"model.path={moved}/base", f"data.train={moved}/data/train.jsonl")
    assert "at step 3" in said and "with other" not in said  # the same content elsewhere
    with pytest.raises(ConfigError, match="other weights"):
        go_on("steps=5", "model.path=base")


def test_weights_that_are_not_read_are_not_compared(place):
    (place / "run/starting.json").write_text(json.dumps({"digest": "others"}))
    settings = config.load(place / "run/config.yaml")
    without = config.build(settings.model_dump(), ["loss.kl=none"])
    weights = StartingWeights(open_path("run"), open_path("base"), print)
    weights.check(without, moved=False)
    for given in ((settings, False), (without, True)):
        with pytest.raises(ConfigError, match="other weights"):
            weights.check(*given)
    shutil.rmtree(place / "run/checkpoints")
    with pytest.raises(ConfigError, match="other weights"):
        weights.check(without, moved=False)


def test_without_a_checkpoint_nothing_made_of_unknown_weights_is_kept(place):
    """A kill before the starting weights were known: they may be others now, and so may the run folder's newest."""
    settings = config.load("run/config.yaml", ["model.path=first"])
    shutil.copytree("run", "first")
    shutil.rmtree("run/checkpoints")
    Path("run/starting.json").write_text(json.dumps({"step": 1, "digest": "known"}))
    with pytest.raises(ConfigError, match="checkpoint 1, which .* started from, is gone"):
        starting.pinned(settings, "run")
    Path("run/starting.json").write_text(json.dumps({"step": 1}))
    assert starting.pinned(settings, "run").model.path == f"{place}/first/checkpoints/2"
    assert Path("run/eval/000000.jsonl").exists()
    opened(place, config.load("run/config.yaml"))
    assert not Path("run/eval/000000.jsonl").exists()


def test_a_file_that_has_not_changed_is_read_once(place, monkeypatch):
    os.utime("base/model.safetensors", (1, 1))
    monkeypatch.setattr(starting, "SETTLED_NS", 0)
    source = open_path("base")
    record = starting.begin_record(source, {}).result()
    arrays = safetensors.numpy.load_file("base/model.safetensors")
    with monkeypatch.context() as patched:
        patched.setattr(starting, "_tensors_digest", lambda path: pytest.fail("read again"))
        assert starting.begin_record(source, record.seen).result() == record
    content = bytearray(Path("base/model.safetensors").read_bytes())
    content[-1] ^= 1
    Path("base/model.safetensors").write_bytes(content)
    os.utime("base/model.safetensors", (1, 1))  # as cp -p leaves it: the same size and time
    assert starting.begin_record(source, record.seen).result().digest != record.digest
    # the same tensors in two files
    names = sorted(arrays)
    parts = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    Path("base/model.safetensors").unlink()
    for file, own in parts.items():
        safetensors.numpy.save_file({name: arrays[name] for name in own}, f"base/{file}")
    index = {"weight_map": {name: file for file, own in parts.items() for name in own}}
    Path("base/model.safetensors.index.json").write_text(json.dumps(index))
    assert starting.begin_record(source, {}).result().digest == record.digest
    arrays[names[0]] = arrays[names[0]] + 1
    safetensors.numpy.save_file({name: arrays[name] for name in names[:5]}, "base/a.safetensors")
    assert starting.begin_record(source, {}).result().digest != record.digest


def test_a_run_keeps_to_the_checkpoint_of_the_run_it_started_from(place, go_on):
    """The run that was the starting model goes on; then its checkpoint goes."""
    given = ["model.path=run", "eval.every=0", "checkpoint.every=1", "steps=1"]
    Path("start.yaml").write_text(config.dump(config.load("run/config.yaml", given)))
    second = partial(go_on, settings="start.yaml", run="second")
    assert "/run/checkpoints/2, " in second()
    shutil.copytree("run/checkpoints/2", "run/checkpoints/3")  # it has gone on
    said = second("steps=2")
    assert "/run/checkpoints/2, " in said and "at step 1" in said
    assert config.load("second/config.yaml").model.path == "run"
    with pytest.raises(ConfigError, match="other weights"):
        second("steps=3", "model.path=base")
    shutil.rmtree("run/checkpoints/2")
    with pytest.raises(ConfigError, match="checkpoint 2, which .*/second started from, is gone; the newest is 3"):
        second("steps=3")


def test_what_a_run_reads_is_known_by_content(place, monkeypatch):
    Path("rewards").mkdir()
    Path("rewards/__init__.py").write_text("raise RuntimeError('imported')")
    Path("rewards/length.py").write_text("raise RuntimeError('imported')")
    Path("chat.jinja").write_text("one")
    prompt = "prompt={template: file, file: chat.jinja}"
    settings = config.load("run/config.yaml", ["reward=rewards.length:reward", prompt])
    model = open_model("base", tiny.mesh())
    before = read_contents(settings, model)
    assert module_file("rewards.length:reward") == str(place / "rewards/length.py") and not module_file("")
    assert not module_file("absent.module:f") and not module_file("rewards.absent:f")
    assert not list(content_changes(before, read_contents(settings, model)))
    for path in ("rewards/length.py", "base/tokenizer.model", "data/train.jsonl", "data/heldout.jsonl", "chat.jinja"):
        Path(path).write_bytes(Path(path).read_bytes() + b"\n")
    (place / "base/tokenizer_config.json").write_text("{}")
    other = replace(model, stop_ids=(1, 7), arch=replace(model.arch, rope_theta=5e5))
    found = {change.name: change.kind for change in content_changes(before, read_contents(settings, other))}
    assert found == {
        **dict.fromkeys(("data.train", "prompt.file", "reward"), config.METHOD),
        "eval.benchmarks: heldout": config.APART,
        **dict.fromkeys(("tokenizer: tokenizer.model", "tokenizer: tokenizer_config.json"), None),
        **dict.fromkeys(("model: stop ids", "model: rope_theta"), None),
    }
    run = config.load("run/config.yaml")
    opened(place, run, before)
    with pytest.raises(ConfigError, match=r"this run has another model: model: stop ids \('\[1\]' -> '\[1, 7\]'\)"):
        opened(place, run, before | {"model: stop ids": "[1, 7]"}, change=True)
    with pytest.raises(ConfigError, match=r"other settings: reward \(the file's content\)\. Give"):
        opened(place, run, before | {"reward": "other"})


@pytest.mark.parametrize(
    ("run", "model"),
    [("base", "base"), ("base/run", "base"), (".", "base"), ("~/base", "base"), ("base/../base", "~/base")],
)
def test_a_run_folder_and_its_starting_model_lie_apart(place, monkeypatch, run, model):
    monkeypatch.setenv("HOME", str(place))
    with pytest.raises(ConfigError, match="wanted two folders, neither inside the other"):
        refuse_overlap(run, model)
    refuse_overlap("base2", model)
    refuse_overlap("gs://bucket/base/run", model)
    refuse_overlap("runs", "")
    refuse_overlap("Qwen/Qwen3-4B", "Qwen/Qwen3-4B")  # a Hub id is no folder
    with pytest.raises(ConfigError, match="wanted two folders"):
        refuse_overlap("gs://bucket/base/run", "gs://bucket/base")
    done = CliRunner().invoke(app, ["train", "run/config.yaml", f"model.path={model}", "--dry-run", "--run", run])
    assert done.exit_code == 2 and "neither inside the other" in done.stderr


def test_a_tilde_of_the_command_line_is_the_home_folder(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    assert CliRunner().invoke(app, ["config", "~/run/config.yaml", "steps=7"]).stdout.count("steps = 7") == 1
    assert open_path("~/run") == open_path(place / "run")


def test_the_report_says_what_changed_and_takes_a_tilde(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    done = CliRunner().invoke(app, ["report", "~/run", "--output=~/page.html", "--json"])
    assert done.exit_code == 0 and (place / "page.html").exists()
    assert dict(row[:2] for row in overview.settings(read_runs(["run"])))["engine.slots"] == "16"
    for step, values in ((1, [4, 8]), (2, [8, 16])):
        write_change(open_path("run"), {"step": step, "kind": "layout", "changed": {"engine.slots": values}})
        write_change(open_path("run"), {"step": step, "kind": "layout", "changed": {"engine.slots": values}})
    shown = dict(row[:2] for row in overview.settings(read_runs(["run"])))
    assert shown["engine.slots"] == "16 (4 until step 1, 8 until step 2)" and shown["optim.lr"] == "0.01"
