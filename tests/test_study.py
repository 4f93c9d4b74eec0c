"""What a study runs, skips and refuses; its processes; and one real study in miniature."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import studyfiles as files
from commands import QUICKSTART, lte
from typer.testing import CliRunner

from lte_jax.cli import app
from lte_jax.config import ConfigError, load
from lte_jax.study import run as study
from lte_jax.study.jobs import Job, JobError, run_jobs
from lte_jax.study.run import arm_config, check_comparable, run_study, train_runs, write_configs
from lte_jax.terminal.live import Live
from lte_jax.toy import warmup


def python(name: str, code: str, log: Path | None = None) -> Job:
    return Job(name, [sys.executable, "-c", code], {}, log)


def live() -> tuple[Live, io.StringIO]:
    said = io.StringIO()
    return Live(file=said), said


def finished_study(folder: Path, settings) -> None:
    def found(arm, seed, step):
        value = 0.2 + 0.1 * step + 0.05 * seed
        return {"heldout": files.evaluation(value, 0.9 - value), "heldout_facts": files.evaluation(0.1, 0.9)}

    files.write_study(folder, settings, lambda arm, seed, step: files.metrics_row(step), found)
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "config.json").write_text("{}")


def test_the_arms_of_a_seed_lie_beside_each_other(tmp_path):
    runs = write_configs(files.config(), tmp_path)
    assert runs == [(arm, seed) for seed in (0, 1) for arm in ("grpo", "extra", "lte")]
    written = load(tmp_path / "configs" / "extra-1.yaml")
    assert (written.seed, written.explore.strategy) == (1, "extra")
    assert written.model.path == f"{tmp_path}/base" and written.data.train == f"{tmp_path}/data/train.jsonl"
    benchmarks = [(b.name, b.path) for b in written.eval.benchmarks]
    assert benchmarks == [(name, f"{tmp_path}/data/{name}.jsonl") for name in ("heldout", "heldout_facts")]


def test_the_folders_are_those_that_the_warm_up_makes():
    assert (study.BASE, study.DATA) == (warmup.BASE, warmup.DATA)


def test_a_model_of_ones_own_keeps_its_files():
    own = {"model": {"path": "m"}, "data": {"train": "t.jsonl"}}
    settings = files.config(eval={"benchmarks": [{"path": "b.jsonl"}]}, **own)
    run = arm_config(settings, "lte", 3, Path("folder"))
    assert (run.model.path, run.data.train, run.eval.benchmarks[0].path) == ("m", "t.jsonl", "b.jsonl")
    with pytest.raises(ConfigError, match="needs data.train and eval.benchmarks"):
        check_comparable(files.config(model={"path": "m"}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": {"a/b": []}}, "'a/b' names a folder"),
        ({"arms": {"lte": ["steps=9"]}}, "study.arms.lte sets steps"),
        ({"arms": {"lte": ["eval.temperature=0.1"]}}, "study.arms.lte sets eval.temperature"),
        ({"arms": {"lte": ["seed=9"]}}, "study.arms.lte sets seed"),
        ({"arms": {"lte": ["explore.stategy=lte"]}}, "study.arms.lte: unknown key explore.stategy"),
        ({"seeds": [1, 1]}, "wanted different seeds"),
        ({"seeds": []}, "at least one of each"),
        ({"every": 0}, "eval.every is 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        check_comparable(files.config(**changes))


def test_other_settings_on_a_second_start_are_refused_by_name(tmp_path):
    write_configs(files.config(), tmp_path)
    for sections, said in (
        ({"optim": {"lr": 0.5, "problems_per_update": 64}}, r"optim.lr \(1e-06 -> 0.5\)"),
        ({"warmup": {"steps": 3}}, r"warmup.steps \(1700 -> 3\)"),
        ({"steps": 2}, r"steps \(4 -> 2\)"),
        ({"steps": 8, "arms": {"grpo": files.ARMS["grpo"], "lte": ["loss.gamma=0.5"]}}, r"loss.gamma \(0.1 -> 0.5\)"),
    ):
        with pytest.raises(ConfigError, match=said):
            write_configs(files.config(**sections), tmp_path)
    write_configs(files.config(), tmp_path)  # a refused start changed nothing


def test_more_steps_seeds_and_arms_may_be_added_later(tmp_path):
    write_configs(files.config(), tmp_path)
    more = {**files.ARMS, "lte-random": ["explore.hints=random"]}
    assert len(write_configs(files.config(steps=8, seeds=(0, 1, 2), arms=more, log={"every": 5}), tmp_path)) == 12


def test_a_finished_study_runs_nothing_and_writes_everything(tmp_path):
    arms = {"grpo": files.ARMS["grpo"], "other": ["explore.hints=random"], "lte": ["explore.strategy=restart"]}
    settings = files.config(arms=arms)
    finished_study(tmp_path, settings)
    right = [files.rollout_row("42", "42", correct=True)]
    for run, step in (("other-0", 3), ("lte-0", 1)):  # a random list shows no rescue by it
        files.write_rollouts(tmp_path / run, [files.group_row(step, [files.attempt_row(["41"], right)])])
    out, said = live()
    summary = run_study(settings, tmp_path, out)
    assert "6 runs, 6 of them finished already" in said.getvalue()
    on_disk = json.loads((tmp_path / "summary.json").read_text())
    by_seed = on_disk["arms"]["lte"]["by_step"][-1]["pass_at_1"]["by_seed"]
    assert by_seed == {"0": pytest.approx(0.6), "1": pytest.approx(0.65)}
    assert on_disk["devices"] == "1 x cpu cpu, mesh {}"
    assert {"versions", "date", "config", "phases_s", "paired", "notes", "claim"} <= on_disk.keys() == summary.keys()
    table, rescue = (tmp_path / "table.md").read_text(), (tmp_path / "rescue.txt").read_text()
    assert "| lte   |" in table and "from one base" in table and rescue.startswith("One rescue, from lte-0")
    assert table.splitlines()[0] in said.getvalue() and rescue.strip() in said.getvalue()
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert "6 runs" in (tmp_path / "report.html").read_text() and "report.html" in said.getvalue()


def test_a_study_of_several_bases_is_one_of_each_and_then_of_all(tmp_path):
    settings = files.config()
    several = settings.model_copy(update={"study": settings.study.model_copy(update={"bases": (3, 5)})})
    for name in ("task3", "task5"):
        own = study.base_configs(several)[name]
        assert (own.study.task_seed, own.study.bases, own.model.path) == (int(name[-1]), (), "")
        finished_study(tmp_path / name, own)
    out, said = live()
    summary = run_study(several, tmp_path, out)
    assert summary["paired"]["grpo"]["lte"]["end"]["pass_at_1"]["bases"].keys() == {"task3", "task5"}
    assert "base task5, 2 of 2" in said.getvalue() and "Its unit is the base" in (tmp_path / "table.md").read_text()
    for name in ("summary.json", "differences.png", "report.html", "task3/table.md", "task5/curves.png"):
        assert (tmp_path / name).stat().st_size > 100


def test_bases_may_be_models_and_must_differ():
    own = {"data": {"train": "t.jsonl"}, "eval": {"benchmarks": [{"path": "b.jsonl"}]}}
    settings = files.config(**own)

    def with_bases(*bases):
        return settings.model_copy(update={"study": settings.study.model_copy(update={"bases": bases})})

    found = study.base_configs(with_bases("models/a", "models/b"))
    assert [(name, c.model.path) for name, c in found.items()] == [("a", "models/a"), ("b", "models/b")]
    with pytest.raises(ConfigError, match="wanted different bases, got a twice"):
        study.base_configs(with_bases("x/a", "y/a"))


def test_only_unfinished_runs_are_started(tmp_path, monkeypatch):
    settings = files.config()
    finished_study(tmp_path, settings)
    (tmp_path / "extra-1" / "eval" / "000004.jsonl").unlink()
    path = tmp_path / "lte-0" / "eval" / "000004.jsonl"
    path.write_text(path.read_text()[:-5])  # killed while it wrote
    started = []
    monkeypatch.setattr(study, "run_jobs", lambda jobs, *_: started.extend(job.name for job in jobs))
    out, _ = live()
    train_runs(settings, tmp_path, write_configs(settings, tmp_path), out)
    assert started == ["lte-0", "extra-1"]


def test_runs_beside_each_other_share_cores_and_programs(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "n_cores", lambda: 2)
    monkeypatch.setenv("XLA_FLAGS", "--xla_a")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    two, one = study._environment(tmp_path, 2), study._environment(tmp_path, 1)
    assert two["XLA_FLAGS"] == "--xla_a --xla_cpu_multi_thread_eigen=false" and two["NPROC"] == "1"
    assert one["XLA_FLAGS"] == "--xla_a" and "NPROC" not in one
    assert one["JAX_COMPILATION_CACHE_DIR"] == two["JAX_COMPILATION_CACHE_DIR"] == f"{tmp_path}/cache"


def test_progress_names_what_is_on_and_how_far(tmp_path, monkeypatch):
    settings = files.config(arms={"lte": []})
    found = {0: {"heldout": files.evaluation(0.25, 0.5)}}
    files.write_run(tmp_path / "lte-0", [files.metrics_row(step) for step in range(2)], found)
    monkeypatch.setattr("lte_jax.terminal.live.SILENCE_S", 0.0)
    out, said = live()
    progress = study._Progress(settings.steps, tmp_path, ["lte-0", "lte-1"], 2, out)
    progress.show(["lte-0", "lte-1"])
    assert said.getvalue().endswith("0 of 2 runs done  lte-0 2/4 Pass@1 0.250  lte-1 0/4  left ?\n")
    (tmp_path / "lte-0" / "metrics" / "000002.jsonl").write_text('{"step": 2}\n{"step": 3')
    progress.show(["lte-0", "lte-1"])  # the first step since the start: the clock runs from here
    assert said.getvalue().endswith("lte-0 3/4 Pass@1 0.250  lte-1 0/4  left ?\n")
    progress.finished("lte-0", 61.0)
    progress.show(["lte-1"])
    assert "lte-0 finished in 61 s Pass@1 0.250\n1 of 2 runs done  lte-1 0/4  left 0:0" in said.getvalue()


def test_a_study_whose_run_fails_ends_with_code_1_and_its_last_lines(tmp_path, monkeypatch):
    def fail(*_):
        raise JobError("grpo-0 ended with exit code 1")

    monkeypatch.setattr(study, "run_study", fail)
    done = CliRunner().invoke(app, ["study", str(QUICKSTART), "--run", str(tmp_path)])
    assert done.exit_code == 1 and done.stderr.splitlines()[0] == "error: grpo-0 ended with exit code 1"
    assert done.stderr.count("error: ") == 1 and "continues from here" in done.stderr


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_failed_run_shows_its_last_lines_and_ends_the_others(tmp_path):
    slow = python("slow", "import time; time.sleep(60)", tmp_path / "slow.txt")
    failing = python("bad", "print('first'); raise SystemExit('no such thing')", tmp_path / "bad" / "log.txt")
    never = python("never", "open('never', 'w')", tmp_path / "never.txt")
    with pytest.raises(JobError, match=r"bad ended with exit code 1(.|\n)*bad/log.txt(.|\n)*\| no such thing"):
        run_jobs([slow, failing, never], 2)
    assert not (tmp_path / "never.txt").exists()
    assert "KeyboardInterrupt" in (tmp_path / "slow.txt").read_text()  # asked to end, not killed


def test_a_child_that_ignores_ctrl_c_is_ended_too(tmp_path, monkeypatch):
    monkeypatch.setattr("lte_jax.study.jobs.GRACE_S", 0.5)
    stubborn = "import os, signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]"
    stubborn = f"{stubborn}; print(os.getpid(), flush=True); time.sleep(60)"
    log = tmp_path / "log.txt"

    def interrupt(names):
        if log.read_text():
            raise KeyboardInterrupt

    monkeypatch.setattr("lte_jax.study.jobs.SHOW_S", 0.1)
    with pytest.raises(KeyboardInterrupt):
        run_jobs([python("stubborn", stubborn, log)], 1, interrupt)
    assert is_gone(int(log.read_text()))


def test_sigterm_ends_the_children_too(tmp_path):
    """As `kill` or a job scheduler does it."""
    log = tmp_path / "log.txt"
    child = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    parent = (
        "import sys; from pathlib import Path; from lte_jax.study.jobs import Job, run_jobs;"
        f"run_jobs([Job('child', [sys.executable, '-c', {child!r}], {{}}, Path({str(log)!r}))], 1)"
    )
    study_process = subprocess.Popen([sys.executable, "-c", parent])
    while not (log.exists() and log.read_text().endswith("\n")):
        time.sleep(0.05)
    study_process.terminate()
    assert study_process.wait(20) == 128 + signal.SIGTERM
    assert is_gone(int(log.read_text().split()[0]))


def test_jobs_run_in_order_and_so_many_at_once(tmp_path):
    code = "import time; start = time.time(); time.sleep(0.5); print(start, time.time())"
    done = []
    jobs = [python(str(i), code, tmp_path / str(i)) for i in range(4)]
    run_jobs(jobs, 2, finished=lambda name, seconds: done.append(name))
    assert sorted(done) == ["0", "1", "2", "3"]
    spans = [tuple(map(float, (tmp_path / str(i)).read_text().split())) for i in range(4)]
    assert [start for start, _ in spans[:2]] < [start for start, _ in spans[2:]]
    for start, _ in spans:
        assert sum(other <= start < end for other, end in spans) <= 2


@pytest.mark.slow
def test_a_real_study_from_nothing_and_again(tmp_path):
    small = ["warmup.steps=30", "steps=4", "eval.limit=20", "eval.every=2", "study.seeds=[0, 1]", "log.every=1"]
    arms = "study.arms={grpo: [explore.strategy=grpo], lte: [explore.strategy=lte]}"
    said = lte("study", QUICKSTART, *small, arms, "--run", tmp_path).stdout
    assert "lte-1 finished in" in said and "paired differences" in said
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["steps"] == [0, 2, 4] and summary["devices"].startswith("1 x cpu")
    assert set(summary["runs"]) == {"grpo-0", "grpo-1", "lte-0", "lte-1"}
    assert summary["arms"]["lte"]["rescue"]["hinted"]["rescue_rate_all"]["by_seed"].keys() == {"0", "1"}
    again = lte("study", QUICKSTART, *small, arms, "--run", tmp_path).stdout
    assert "4 runs, 4 of them finished already" in again
    assert json.loads((tmp_path / "summary.json").read_text())["arms"] == summary["arms"]
