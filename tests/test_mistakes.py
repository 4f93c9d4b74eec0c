"""Mistakes of a new user: each ends with code 2 and one clear line, not a stack trace."""

import shutil

import pytest
from byte_level import write_hf
from commands import QUICKSTART, lte, make_base
from typer.testing import CliRunner

from lte_jax.cli import app


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


def refused(*arguments, **changed: str) -> str:
    """The error's line; in a process of its own only where environment variables change what happens."""
    if changed:
        done = lte(*arguments, check=False, **changed)
        code, said = done.returncode, done.stderr
    else:
        done = CliRunner().invoke(app, list(map(str, arguments)))
        code, said = done.exit_code, done.stderr
    assert code == 2, (done.stdout, said)
    assert "Traceback" not in said
    return [line for line in said.splitlines() if line.startswith("error: ")][-1]


def test_a_wrong_key_names_the_nearest(base, tmp_path):
    said = refused("train", QUICKSTART, *base, "optim.learning_rte=1", "--run", tmp_path / "run")
    assert "unknown key optim.learning_rte" in said


def test_paths_that_are_missing_or_wrong(base, tmp_path):
    run = tmp_path / "run"
    assert "cannot read the config" in refused("train", tmp_path / "absent.yaml", "--run", run)
    assert "model.path is empty" in refused("train", QUICKSTART, base[1], "--run", run)
    assert "data.train is empty" in refused("train", QUICKSTART, base[0], "--run", run)
    (tmp_path / "empty").mkdir()
    said = refused("train", QUICKSTART, base[1], f"model.path={tmp_path}/empty", "--run", run)
    assert "neither a Hugging Face folder" in said
    said = refused("train", QUICKSTART, base[0], f"data.train={tmp_path}/absent.jsonl", "--run", run)
    assert "absent.jsonl: there is no such file" in said


def test_a_full_disk_is_no_mistake(base, tmp_path):
    """Code 2 tells a launcher not to start again; here it should."""
    (tmp_path / "hashes.json.partial").symlink_to("/dev/full")
    done = lte("train", QUICKSTART, *base, "--run", tmp_path, check=False)
    assert done.returncode == 1 and "No space left on device" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no problems in this file"),
        ('{"problem": "1 + 1"}\n', "answer"),
        ('{"problem": "1 + 1", "answer": "\\\\frac{"}\n', "train.jsonl:1: answer '\\\\frac{' cannot be read"),
        ('{"problem": "' + "1 + " * 50 + '", "answer": "1"}\n', "more than prompt.budget = 8"),
    ],
)
def test_problem_files_that_cannot_be_used(base, tmp_path, content, said):
    path = tmp_path / "train.jsonl"
    path.write_text(content)
    assert said in refused("train", QUICKSTART, base[0], f"data.train={path}", "--run", tmp_path / "run")


def test_a_mesh_that_does_not_fit(base, tmp_path):
    run = ["--run", tmp_path / "run"]
    assert "does not fit 8 devices" in refused("train", QUICKSTART, *base, "mesh.data=3", *run)


def test_a_tokenizer_without_a_stop_token(base, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(base[0].removeprefix("model.path="), folder)
    (folder / "tokenizer.model").unlink()
    write_hf(folder, template=None, eos=None, pad=None)
    said = refused("train", QUICKSTART, base[1], f"model.path={folder}", "--run", tmp_path / "run")
    assert "this tokenizer has no stop token" in said


def test_a_problem_whose_hint_does_not_fit_is_refused_before_anything_is_sampled(base, tmp_path):
    said = refused("train", QUICKSTART, *base, "prompt.hinted_budget=8", "--run", tmp_path / "run")
    assert "its hint without any answer has 9 tokens, more than prompt.hinted_budget = 8" in said


def test_a_truncated_weight_file(base, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(base[0].removeprefix("model.path="), folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "model.safetensors" in refused("eval", folder, "--benchmarks", base[1].removeprefix("data.train="))


def test_paths_that_are_something_else(base, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "broken.yaml").write_text("steps: [3")
    model, run = base[0].removeprefix("model.path="), ["--run", tmp_path / "file"]
    assert refused("train", QUICKSTART, *base, "eval.every=0", *run) == f"error: {tmp_path}/file: File exists"
    assert refused("import-hf", model, tmp_path / "file").startswith(f"error: {tmp_path}/file: ")
    assert (
        refused("verify", tmp_path / "absent", "--output", "x")
        == f"error: {tmp_path}/absent: No such file or directory"
    )
    assert "broken.yaml: not YAML: " in refused("config", tmp_path / "broken.yaml")
    assert "no such folder; wanted a run folder" in refused("report", tmp_path / "absent")
    assert "wanted at least one of each" in refused("study", QUICKSTART, "study.arms={}", "--run", tmp_path / "study")
    assert "already there and not an empty folder" in refused("export-hf", model, tmp_path)


def test_devices_that_are_not_there(base):
    for platform in ("cuda", "rocm"):
        asked = ["generate", base[0].removeprefix("model.path="), "--prompt", "( 1 + 2 ) * 3 A:"]
        said = refused(*asked, JAX_PLATFORMS=platform)
        assert said.startswith(
            f"error: JAX_PLATFORMS = {platform}: the devices cannot be opened; is jax's build for them"
        )


def test_generate_wants_one_source(base):
    assert "exactly one of --prompt TEXT and --file FILE" in refused("generate", base[0].removeprefix("model.path="))


def test_config_prints_every_setting_with_its_meaning():
    shown = lte("config", QUICKSTART, "optim.lr=0.5").stdout
    assert "optim.lr = 0.5\n    peak learning rate" in shown
    assert 'explore.answer_domain = ["0", "1"' in shown


def test_a_hub_id_without_a_revision_and_without_a_network(base, tmp_path):
    said = refused("train", QUICKSTART, base[1], "model.path=Qwen/Qwen3-4B-Base", "--run", tmp_path / "run")
    assert "wanted model.revision = a commit of 40 hexadecimal digits, got none. The Hub could not be asked" in said
