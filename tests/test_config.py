"""Settings: every file loads, every field is read, and a mistake is named."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from lte_jax import config
from lte_jax.config import Config, ConfigError
from lte_jax.toy.arithmetic import MODULUS, PROMPTS, RESPONSE_BUDGET

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads_and_says_what_it_reproduces(path):
    config.load(path)
    head = path.read_text().split("\nsteps:")[0]
    for said in ("Reproduces", "Hardware", "Expected", "Command"):
        assert said in head


def test_the_resolved_config_reads_back_equal():
    loaded = config.load(ROOT / "configs/quickstart.yaml", ["seed=7", "optim.lr=1e-3"])
    assert config.build(yaml.safe_load(config.dump(loaded))) == loaded
    assert (loaded.seed, loaded.optim.lr) == (7, 1e-3)


def test_the_quickstart_uses_the_templates_of_the_built_in_task():
    loaded = config.load(ROOT / "configs/quickstart.yaml")
    assert loaded.prompt == PROMPTS
    assert loaded.sample.response_budget == RESPONSE_BUDGET
    assert loaded.explore.answer_domain == tuple(map(str, range(MODULUS)))


def test_every_field_is_read_somewhere():
    """A field whose section and name no module outside config.py puts together is an option that nobody reads.

    Read as `….section.field`, or as `x.field` where the same function takes the section (`config.loss` handed on).
    """
    sections = {name.split(".")[-2] for name, _, _ in config.fields() if "." in name}
    read: set[tuple[str, str]] = set()
    for path in (ROOT / "lte_jax").rglob("*.py"):
        if path.name == "config.py":
            continue
        attributes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
        mentioned = {node.attr for node in attributes} | set(re.findall(r"(\w+)Config\b", path.read_text()))
        here = {section for section in sections if section in mentioned or section.title() in mentioned}
        read |= {(section, node.attr) for section in here for node in attributes}
        read |= {("", node.attr) for node in attributes}
    unread = [name for name, _, _ in config.fields() if tuple(("." + name).split(".")[-2:]) not in read]
    assert not unread


def test_every_field_says_what_another_value_does_to_a_run():
    """A field without a kind does not build; what the tables of the documents promise is spelled here."""
    found = dict(config.kinds())
    assert found.keys() == {name for name, _, _ in config.fields()}
    with pytest.raises(TypeError, match="kind"):
        config.setting(1, "a field that says nothing")
    layout = "engine. mesh. model.remat model.attention model.scan_layers model.logprob_chunk optim.moments".split()
    layout += ["optim.microbatch_tokens", "optim.length_bucket", "prompt.budget"]
    assert {name for name, kind in found.items() if kind is config.LAYOUT} == {
        name for name in found if name.startswith(tuple(layout))
    }
    assert {name for name, kind in found.items() if kind is config.CONTENT} == {
        *("model.path", "model.revision", "data.train", "prompt.file")
    }
    for name in ("optim.lr", "loss.kl", "sample.response_budget", "verify.conventions.join_boxes", "seed", "reward"):
        assert found[name] is config.METHOD
    for name in ("eval.every", "checkpoint.keep", "log.wandb", "verify.workers", "preempt.grace_s", "study.seeds"):
        assert found[name] is config.APART


def test_a_leading_tilde_is_the_home_folder_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    given = ["model.path=~/m", "data.train=~/d", "prompt={template: file, file: ~/t}", "study.bases=[1, ~/b]"]
    built = config.build({}, [*given, "eval.benchmarks=[{path: ~/e}]", "prompt.text=~ {problem}"])
    assert (built.model.path, built.data.train, built.prompt.file) == ("/home/me/m", "/home/me/d", "/home/me/t")
    assert (built.study.bases, built.eval.benchmarks[0].path) == ((1, "/home/me/b"), "/home/me/e")
    assert built.prompt.text == "~ {problem}"


def test_every_field_has_a_meaning_and_the_defaults_are_the_methods():
    assert all(meaning for _, _, meaning in config.fields())
    default = Config()
    assert (default.loss.gamma, default.loss.clip_eps_low, default.loss.clip_eps_high) == (0.1, 0.2, 0.2)
    assert (default.sample.group_size, default.sample.temperature, default.sample.response_budget) == (8, 1.0, 8192)
    assert (default.problems_per_step, default.optim.problems_per_update, default.optim.lr) == (128, 64, 1e-6)
    assert (default.explore.keep_failed, default.explore.rounds, default.loss.normaliser) == (1, 1, "token_mean")
    assert (default.prompt.budget, default.prompt.hinted_budget, default.eval.temperature) == (1024, 2048, 0.6)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optim.lrr=1", "unknown key optim.lrr; did you mean optim.lr?"),
        ("explore.stratgy=lte", "did you mean explore.strategy?"),
        (
            "explore.strategy=lteplus",
            "explore.strategy = lteplus: did you mean lte? wanted one of grpo, extra, lte, luffy, guided,",
        ),
        ("sample.group_size=1", "sample.group_size: Input should be greater than or equal to 2, got 1"),
        ("problems_per_step=33", "problems_per_step = 33 is not a multiple of optim.problems_per_update = 64"),
        ("explore.keep_failed=8", "leaves nothing to replace in a group of sample.group_size = 8"),
        ("loss.correction=truncate", "wanted loss.old_logp = trainer, got sampler"),
        ("overlong={shaping: soft, buffer: 8192}", "wanted less than sample.response_budget = 8192"),
        ("loss={ratio: sequence, on_policy_objective: cispo}", "loss.on_policy_objective = cispo weighs each token"),
        ("loss={hinted_objective: clipped, hinted_denominator: one}", "with loss.hinted_denominator = one they are"),
        ("loss={entropy_coef: 0.1, entropy_schedule: adaptive}", "loss.entropy_schedule = adaptive, which starts at 0"),
        ("loss.correction_range=[2, 5]", "loss.correction_range = [2.0, 5.0]: wanted 0 <= low <= 1 <= high"),
        ("reward_args={a: 1}", "reward_args = {'a': 1} without a reward of your own that would read them"),
        ("eval.k=[5]", "k = [5], but each k must lie between 1 and the 4 samples"),
        ("prompt.template=file", "prompt.template = file, prompt.file = '': the file goes with `file`"),
        ("prompt.file=x.jinja", "prompt.template = plain, prompt.file = 'x.jinja'"),
        ("prompt.system=Be brief.", "prompt.system and prompt.enable_thinking need prompt.template = chat or file"),
        ("sample.stop_strings=['']", "an empty string would end every response"),
        ("eval.keep_best=pass_at_1", "eval.keep_best = pass_at_1 needs evaluations: wanted eval.every above 0"),
        ("model=3", "model is a section, got 3"),
        ("seed", "wanted section.key=value"),
        ("seed.deep=1", "seed"),
    ],
)
def test_a_mistake_is_named(override, said):
    with pytest.raises(ConfigError) as error:
        config.build({}, [override])
    assert said in str(error.value)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="absent.yaml: cannot read the config"):
        config.load(tmp_path / "absent.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="a config is a mapping of sections, got list"):
        config.load(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match="broken.yaml: not YAML"):
        config.load(tmp_path / "broken.yaml")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["loss.gamma=0.3", "loss.hinted_objective=ratio"], "loss.gamma = 0.3 is read only with loss.hinted_objective"),
        (["loss.dual_clip_c=2"], "loss.dual_clip_c = 2.0 is read only with loss.on_policy_objective = dual_clip"),
        (["loss.kl_coef=0.1"], "loss.kl_coef = 0.1 is read only with loss.kl = k1 or k2 or k3 (it is none)"),
        (["explore.rounds=2", "explore.strategy=luffy"], "explore.rounds = 2 is read only with explore.strategy"),
        (["overlong.buffer=9"], "overlong.buffer = 9 is read only with overlong.shaping = soft"),
    ],
)
def test_what_is_set_and_not_read_is_refused(overrides, said):
    with pytest.raises(ConfigError, match="has no effect") as error:
        config.refuse_unread(config.build({}, overrides))
    assert said in str(error.value)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["loss.gamma=0.3"],
        ["loss.gamma=0.3", "loss.hinted_objective=ratio", "loss.supervised_objective=shaped"],
        ["loss.gamma=0.3", "loss.hinted_objective=mine:Own"],  # code of the user's own may read it
        ["loss.kl_coef=0.1", "loss.kl=k2"],
        ["explore.rounds=2", "explore.strategy=extra"],
    ],
)
def test_what_is_read_is_taken(overrides):
    config.refuse_unread(config.build({}, overrides))


def test_no_config_that_comes_with_us_sets_what_nothing_reads():
    for path in (ROOT / "configs").glob("*.yaml"):
        found = config.load(path)
        for arm in [(), *found.study.arms.values()]:
            assert config.unread(config.load(path, arm)) == []
