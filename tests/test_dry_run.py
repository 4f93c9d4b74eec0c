"""`lte train --dry-run` says what would run from files alone; every config of the paper passes it."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import yaml
from byte_level import write_hf
from commands import ROOT, environment
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from lte_jax import config
from lte_jax.cli import app
from lte_jax.device.weights import Architecture
from lte_jax.host.tokenizers.tokenizer import open_tokenizer
from lte_jax.model_io import convert
from lte_jax.model_io.checkpoint import check_weights
from lte_jax.model_io.hf_config import read_config
from lte_jax.report.scorecard import PAPER
from lte_jax.run.positions import check_positions
from lte_jax.run.session import check_vocabulary

PAPERS = sorted((ROOT / "configs").glob("qwen3-*.yaml"))
ARMS = ("grpo", "grpo-entropy", "extra", "extra-entropy", "lte", "lte-entropy", "dapo", "luffy", "evocot", "relift")
QWEN3_4B = {  # Qwen/Qwen3-4B-Base, config.json
    **{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "hidden_size": 2560, "intermediate_size": 9728},
    **{"num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128},
    **{"vocab_size": 151936, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6, "tie_word_embeddings": True},
    **{"hidden_act": "silu", "attention_bias": False, "eos_token_id": 0, "max_position_embeddings": 32768},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Qwen3-4B-Base with a small tokenizer, of its weights only the headers: the rest of the file is a hole."""
    folder = write_hf(tmp_path_factory.mktemp("model") / "Qwen3-4B-Base")
    (folder / "config.json").write_text(json.dumps(QWEN3_4B))
    write_headers(folder, read_config(folder).arch)
    return folder


def write_headers(folder: Path, arch: Architecture) -> None:
    header, end = {}, 0
    for tensor in convert._hf_tensors(arch):
        shape = convert._hf_shape(tensor.row, arch)
        start, end = end, end + 2 * math.prod(shape)
        header[tensor.name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    spelled = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(spelled).to_bytes(8, "little") + spelled)
        file.truncate(file.tell() + end)


@pytest.fixture(scope="module")
def problems(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    rows = [
        {"problem": "What is 1 + 1?", "answer": "2", "trace": "One and one are \\boxed{2}"},
        {"problem": "What is 2 + 3?", "answer": "5"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def dry_run(path, model, problems, *overrides, run="absent"):
    given = [f"model.path={model}", f"data.train={problems}", f"eval.benchmarks=[{{path: {problems}, samples: 3}}]"]
    asked = ["train", path, "--dry-run", "--run", run, *given, "eval.k=[1]", "verify.workers=1", *overrides]
    return CliRunner().invoke(app, list(map(str, asked)))


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_every_config_of_the_paper_passes_the_dry_run(path, model, problems, tmp_path):
    done = dry_run(path, model, problems, run=tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "4,022,468,096 parameters" in done.output and not (tmp_path / "run").exists()


def test_a_custom_reward_is_tried_on_every_file(model, problems, tmp_path, monkeypatch):
    """Once on each file's first problem: another file may have other answers."""
    code = "def reward(problem, responses):\n    return [float(problem['answer'] == '2') for _ in responses]\n"
    (tmp_path / "tried.py").write_text(code + "def never(problem, responses):\n    return problem['level']\n")
    monkeypatch.chdir(tmp_path)
    config = ROOT / "configs/qwen3-4b-lte.yaml"
    done = dry_run(config, model, problems, "reward=tried:reward")
    assert done.exit_code == 0, done.output
    tried = "reward: tried on problem 'train-1', its answer in a box and a response without any: 1, 1"
    assert done.output.count(tried) == 2
    done = dry_run(config, model, problems, "reward=tried:never")
    assert done.exit_code == 2
    assert "error: reward tried:never, tried on problem 'train-1' with 2 responses: " in done.stderr
    assert "tried.py:4, in never: KeyError: 'level'" in done.stderr


def test_a_first_round_is_as_large_as_its_strategy_makes_it(model, problems, tmp_path, monkeypatch):
    code = "from lte_jax.host.explore import Strategy\nfrom lte_jax.records import Part\n\n\nclass Double(Strategy):\n"
    code += "    def first(self, plan, memory):\n        return (Part(plan.prompt, 2 * plan.n),)\n"
    (tmp_path / "doubling.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    said = dry_run(ROOT / "configs/qwen3-4b-grpo.yaml", model, problems, "explore.strategy=doubling:Double").output
    assert " problems x 16 responses = " in said


def test_luffy_wants_traces_that_fit(model, problems, tmp_path):
    config = ROOT / "configs/qwen3-4b-luffy.yaml"
    said = dry_run(config, model, problems).output
    assert "traces: of 1 of 2 problems, at most" in said and "further rollouts" not in said
    short = dry_run(config, model, problems, "sample.response_budget=3")
    assert short.exit_code == 2 and "1 traces have more tokens than sample.response_budget = 3" in short.stderr
    (tmp_path / "bare.jsonl").write_text('{"problem": "What is 1 + 1?", "answer": "2"}\n')
    bare = dry_run(config, model, tmp_path / "bare.jsonl")
    assert bare.exit_code == 2 and "wanted problems with a `trace`, a worked solution; none has one" in bare.stderr


def test_the_dry_run_says_what_would_run(model, problems):
    said = dry_run(
        ROOT / "configs/qwen3-4b-lte.yaml", model, problems, "steps=10", "prompt.text='{problem} Go.'"
    ).output
    assert f"problems: {problems}, 2 rows" in said and "first prompt:\nWhat is 1 + 1? Go.\n" in said
    assert "steps: 10, each 128 problems x 8 responses = 1,024 rollouts of at most 8192 tokens (8,388,608" in said
    assert "in 2 updates" in said and "at most 1,024 a step" in said and "seen 640.00 times" in said
    assert "evaluations: 2 of 6 responses each" in said  # 0 and 10
    assert "  prompt.text = '{problem} Go.'" in said and "seed = 0" not in said


def test_the_dry_run_asks_a_curriculum_of_ones_own(model, problems):
    ours = ["curriculum.name=uneven:Uneven", "problems_per_step=4", "optim.problems_per_update=2"]
    said = dry_run(ROOT / "configs/qwen3-4b-lte.yaml", model, problems, *ours).output
    assert "each 4 problems x 1 to 4 responses = 10 rollouts" in said


def test_the_dry_run_shows_the_tokens_where_text_alone_does_not_say_them(model, problems, tmp_path):
    rows = [{"problem": "<|im_end|>1 + 1?", "id": "a", "answer": "2", "trace": "<think>Two</think>\\boxed{2}"}]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = "prompt.text='<|im_start|>user {problem}<|im_end|>'"
    luffy = dry_run(ROOT / "configs/qwen3-4b-luffy.yaml", model, path, text).output
    marked = ["  <|im_start|> = 301", "  'user <|im_end|>1 + 1?': 19 tokens of text", "  <|im_end|> = 302"]
    assert "\n".join(["first prompt, 21 tokens:", *marked]) in luffy
    trace = ["  <think> = 303", "  'Two': 3 tokens of text", "  </think> = 304", "  '\\\\boxed{2}': 5 tokens of text"]
    assert "\n".join([*trace, "  <|endoftext|> = 300"]) in luffy
    assert "that a problem spells stay text: in 1 problems, such as '<|im_end|>' in a" in luffy
    lte = ROOT / "configs/qwen3-4b-lte.yaml"
    assert "tokens of text" not in dry_run(lte, model, problems).output
    hint = "prompt.hints.concise='{problem}<|im_end|>'"
    assert "first problem's hint without answers, " in dry_run(lte, model, problems, hint).output


def test_what_training_would_refuse_the_dry_run_refuses(model, problems):
    lte = ROOT / "configs/qwen3-4b-lte.yaml"
    for override, said in (
        ("data.train=", "data.train is empty"),
        ("data.train=absent.jsonl", "there is no such file"),
        ("prompt.budget=3", "more than prompt.budget = 3"),
        ("model.path=/absent", "neither a Hugging Face folder"),
        ("prompt={template: file, file: absent.jinja}", "absent.jinja: cannot read the template"),
        ("loss.dual_clip_c=2", "loss.dual_clip_c = 2.0 is read only with loss.on_policy_objective = dual_clip"),
        ("explore.strategy=absent:Mine", "explore.strategy = absent:Mine: cannot load it"),
        ("loss.hinted_objective=absent:Mine", "loss.hinted_objective = absent:Mine: cannot load it"),
        ("advantage.credits=[absent:Mine]", "advantage.credits = absent:Mine: cannot load it"),
    ):
        done = dry_run(lte, model, problems, override)
        assert done.exit_code == 2 and said in done.stderr


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A whole small model in several shards."""
    arch = Architecture(305, 16, 24, 2, 2, 2, 8, 1e6, 1e-6, False)
    folder = tmp_path_factory.mktemp("small") / "model"
    convert.export_params(
        folder, arch, tiny.params(arch), stop_ids=(300,), dtype="float32", max_shard_bytes=20_000, finish=write_hf
    )
    return folder


def first_shard(folder: Path) -> Path:
    return sorted(folder.glob("*.safetensors"))[0]


def renamed(change):
    def edit(folder):
        stored = {name: array for file in folder.glob("*.safetensors") for name, array in load_file(file).items()}
        for path in folder.glob("*.safetensors*"):
            path.unlink()
        save_file({change(name): array for name, array in stored.items()}, folder / "model.safetensors")

    return edit


def configured(**changed):
    def edit(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return edit


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"
FAULTS = {
    "a shard is missing": (
        lambda f: first_shard(f).unlink(),
        "no such file; model.safetensors.index.json refers to it",
    ),
    "a shard is a pointer": (lambda f: first_shard(f).write_text(POINTER), "git lfs pull"),
    "the tokenizer is a pointer": (lambda f: (f / "tokenizer.json").write_text(POINTER), "git lfs pull"),
    "a shard is cut": (lambda f: os.truncate(first_shard(f), 5000), "not a whole safetensors file"),
    "another width": (configured(intermediate_size=40), "has shape (24, 16), wanted (40, 16)"),
    "further layers": (configured(num_hidden_layers=3), "tensors are missing: model.layers.2."),
    "a prefix": (renamed(lambda name: f"module.{name}"), "save the model without the prefix 'module.'"),
    "the inner part": (renamed(lambda name: name.removeprefix("model.")), "not its inner part"),
    "a small vocabulary": (configured(vocab_size=303), "the tokenizer has 305 tokens, the model only 303"),
    "few positions": (configured(max_position_embeddings=9215), "was made for 9215 positions (config.json), and"),
}


def broken(small: Path, tmp_path: Path, fault: str) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(small, folder)
    FAULTS[fault][0](folder)
    return folder


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_that_training_cannot_load_is_refused_from_its_files(small, tmp_path, fault):
    """By the checks that training and the dry run share."""
    folder, cfg = broken(small, tmp_path, fault), config.load(ROOT / "configs/qwen3-4b-grpo.yaml")
    with pytest.raises(ValueError) as refused:
        found = read_config(folder)
        check_vocabulary(folder, found.arch, open_tokenizer(folder))
        check_positions(cfg, {"a row": 9216}, found.max_positions, print)
        check_weights(folder, folder, found.arch)
    assert FAULTS[fault][1] in str(refused.value)
    if "shard" in fault or "wid" in fault or "prefix" in fault:
        with pytest.raises(ValueError, match=re.escape(str(refused.value))):
            convert.import_params(folder, found.arch, tiny.mesh())


@pytest.mark.parametrize("fault", ["a prefix", "a small vocabulary"])
def test_training_and_the_dry_run_refuse_it_with_the_same_words(small, problems, tmp_path, fault):
    folder, said = broken(small, tmp_path, fault), FAULTS[fault][1]
    given = [f"model.path={folder}", f"data.train={problems}", "verify.workers=1", "eval.benchmarks=[]", "eval.every=0"]
    asked = ["train", str(ROOT / "configs/qwen3-4b-grpo.yaml"), *given, "--run", str(tmp_path / "run")]
    trained, looked = (CliRunner().invoke(app, [*asked, *more]) for more in ([], ["--dry-run"]))
    assert said in looked.stderr and looked.stderr == trained.stderr
    assert (looked.exit_code, trained.exit_code) == (2, 2) and str(folder) in looked.stderr
    assert not (tmp_path / "run/checkpoints").exists()


def test_rows_beyond_the_models_positions_are_refused_everywhere_unless_allowed(small, problems, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(small, folder)
    configured(max_position_embeddings=1535)(folder)
    common = ["sample.response_budget=512", "verify.workers=1", "eval.every=0"]
    training = [str(ROOT / "configs/qwen3-4b-grpo.yaml"), f"model.path={folder}", f"data.train={problems}", *common]
    for command in (
        ["train", *training, "--dry-run"],
        ["plan", *training],
        ["eval", str(folder), "--benchmarks", str(problems), *common],
        ["generate", str(folder), "--prompt", "1 + 1", *common],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 2, done.output
        assert "made for 1535 positions (config.json), and prompt.budget + sample.response_budget = 1536" in done.stderr
    allowed = CliRunner().invoke(app, ["train", *training, "model.beyond_max_positions=allow", "--dry-run"])
    assert allowed.exit_code == 0 and "1535 positions" in allowed.stdout
    fits = CliRunner().invoke(app, ["train", *training, "prompt.budget=1023", "--dry-run"])
    assert fits.exit_code == 0 and "positions" not in fits.stdout


def test_the_dry_run_opens_no_device(model, problems):
    code = (
        "from jax._src import xla_bridge; from lte_jax import config; from lte_jax.run.dry_run import dry_run\n"
        "from lte_jax.host.verify import Verifier\n"
        f"c = config.build({{'model': {{'path': {str(model)!r}}}, 'data': {{'train': {str(problems)!r}}}}})\n"
        "with Verifier(workers=1) as verifier: dry_run(c, verifier, print)\n"
        "assert not xla_bridge.backends_are_initialized()"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_papers_configs_differ_only_where_their_rows_do():
    """Each arm of a size from LTE of that size; and the sizes from each other in nothing."""
    allowed = {
        "grpo": {"explore"},
        "extra": {"explore"},
        "lte": set(),
        "evocot": {"explore"},
        "dapo": {"explore", "overlong", "advantage", "loss"},
        "luffy": {"explore", "advantage", "loss"},
        "relift": {"explore", "advantage", "loss", "optim"},
    }
    assert {path.stem for path in PAPERS} == {f"qwen3-{size}-{arm}" for size in ("4b", "8b") for arm in (*ARMS, "base")}
    for arm in ARMS:
        loaded = {size: config.load(ROOT / f"configs/qwen3-{size}-{arm}.yaml") for size in ("4b", "8b")}
        assert loaded["4b"] == loaded["8b"]
        ours, lte = (c.model_dump() for c in (loaded["4b"], config.load(ROOT / "configs/qwen3-4b-lte.yaml")))
        strategy, _, entropy = arm.partition("-")
        assert {key for key in ours if ours[key] != lte[key]} == allowed[strategy] | ({"loss"} if entropy else set())
        assert ours["loss"]["entropy_coef"] == (0.001 if entropy or arm in ("luffy", "relift") else 0.0)
        assert ours["explore"]["strategy"] == {"dapo": "grpo"}.get(strategy, strategy)
    suite = config.build({"eval": config.load_suite(ROOT / "configs/suites/paper.yaml")}).eval
    trained = config.load(ROOT / "configs/qwen3-4b-lte.yaml").eval
    assert [(b.name, b.path, b.samples) for b in trained.benchmarks] == [
        (b.name, b.path, b.samples) for b in suite.benchmarks
    ]


def test_the_heads_quote_the_papers_averages():
    rows = {"grpo": "GRPO", "extra": "GRPO + extra", "lte": "LTE", "luffy": "LUFFY", "base": "base model"}
    for size, known in PAPER.items():
        for arm in (*ARMS, "base"):
            strategy, _, entropy = arm.partition("-")
            figures = known.get(rows.get(strategy, "") + (", entropy bonus" if entropy else ""))
            head = (ROOT / f"configs/qwen3-{size}-{arm}.yaml").read_text().split("\nmodel:")[0]
            for average in (values[-1] for values in figures or ()):
                assert average is None or f"{average:.2f}" in head


def test_the_script_lists_every_command_of_the_table():
    script = ["bash", str(ROOT / "launch/reproduce_paper.sh")]
    listed = subprocess.run([*script, "--train", "t.jsonl", "--dry-run", "steps=3"], capture_output=True, text=True)
    lines = listed.stdout.splitlines()
    for size in ("4b", "8b"):
        assert sum(f"configs/qwen3-{size}-base.yaml" in line and " eval " in line for line in lines) == 1
        for arm in ARMS:
            (trained,) = (line for line in lines if f"configs/qwen3-{size}-{arm}.yaml " in line)
            assert "data.train=t.jsonl" in trained and trained.rstrip().endswith("steps=3")
            assert any(f" eval runs/paper/{size}-{arm} " in line and "suites/paper.yaml" in line for line in lines)
    assert sum(" compare " in line for line in lines) == 8
    some = [*script, "--train", "t.jsonl", "--dry-run", "--sizes", "4b", "--arms", "grpo lte dapo"]
    commands = [line.split()[1] for line in subprocess.run(some, capture_output=True, text=True).stdout.splitlines()]
    assert commands == ["eval", *["train", "eval"] * 3, "compare"]
    assert subprocess.run([*some[:-1], "lite"], capture_output=True, text=True).stderr == "no such arm: lite\n"
    assert subprocess.run(script, capture_output=True).returncode == 2
    for path in {word for line in lines for word in line.split() if word.endswith(".yaml")}:
        assert yaml.safe_load((ROOT / path).read_text())
