"""Each convention both ways: by exact arithmetic, in a worker, at load, and from the command line."""

import json

import pytest

from lte_jax import config
from lte_jax.config import ConventionsConfig
from lte_jax.host.verify import Verifier, check_gold

# field, value that is not the default, gold, response that is correct under exactly one of them: the default
TURNED_OFF = [
    ("percent_is_decimal", False, r"50\%", "0.5"),
    ("percent_is_decimal", False, r"100\sqrt{2}\%", r"\sqrt{2}"),
    ("degrees_optional", False, r"90^\circ", "90"),
    ("degrees_optional", False, r"30\sqrt{2}", r"\sqrt{1800}^\circ"),
    ("units_optional", False, "5", r"5 \text{ cm}"),
    ("units_optional", False, r"\sqrt{8} \text{ cm}", r"2\sqrt{2}"),
    ("list_is_unordered", False, "1, 2", "2, 1"),
    ("list_is_unordered", False, r"\sqrt{2}, \sqrt{8}", r"2\sqrt{2}, \sqrt2"),
    ("equation_gives_value", False, "x = 5", "5"),
    ("equation_gives_value", False, r"2\sqrt{2}", r"x = \sqrt{8}"),
    ("choice_with_text", False, "B", "(B) an ellipse"),
    ("relative_tolerance", 0.0, "3.1416", r"\pi"),
    ("decimal_digits", 0, r"\sqrt{2}", "1.4142135624"),
    ("decimal_digits", 0, r"\frac{1}{12}", "0.083333333333"),
    ("relative_tolerance", 0.0, "2.50", "2.5001"),
]
TURNED_UP = [("relative_tolerance", 0.01, "3.14", "3.15"), ("relative_tolerance", 0.01, "2.5", "2.51")]


@pytest.fixture(scope="module")
def by_setting():
    """One verifier for each setting that the tests name."""
    started = {}

    def make(**conventions):
        key = json.dumps(conventions)
        if key not in started:
            started[key] = Verifier(workers=1, conventions=conventions)
        return started[key]

    yield make
    for verifier in started.values():
        verifier.close()


def correct(verifier, gold, answer):
    return verifier.grade_many([(gold, rf"\boxed{{{answer}}}", False)])[0].correct


@pytest.mark.parametrize(("field", "value", "gold", "answer"), TURNED_OFF)
def test_a_convention_can_be_turned_off(by_setting, field, value, gold, answer):
    assert correct(by_setting(), gold, answer)
    assert not correct(by_setting(**{field: value}), gold, answer)
    assert correct(by_setting(**{field: value}), gold, gold)


@pytest.mark.parametrize(("field", "value", "gold", "answer"), TURNED_UP)
def test_the_tolerance_can_be_wider(by_setting, field, value, gold, answer):
    assert not correct(by_setting(), gold, answer)
    assert correct(by_setting(**{field: value}), gold, answer)


def test_several_boxes_may_be_one_answer_or_only_the_last_counts(by_setting):
    item = ("1, 2", r"\boxed{1} and \boxed{2}", False)
    assert by_setting().grade_many([item])[0].correct
    assert not by_setting(join_boxes=False).grade_many([item])[0].correct


def test_every_convention_is_tested_here():
    tested = {field for field, *_ in TURNED_OFF} | {"join_boxes"}
    assert tested == set(ConventionsConfig.model_fields)


def test_answers_are_told_apart_without_tolerance_but_by_the_same_conventions(by_setting):
    assert by_setting(units_optional=False).same_answer([("5", r"5 \text{ cm}"), ("0.333", "0.33301")]) == [
        False,
        False,
    ]
    assert by_setting().same_answer([("5", r"5 \text{ cm}")]) == [True]


def test_golds_are_checked_under_the_conventions(by_setting):
    for gold in (r"5 \text{ cm}", r"50\%", "1, 2", "x = 5", r"90^\circ"):
        assert by_setting(units_optional=False).check_gold(gold) is None
        assert check_gold(gold, ConventionsConfig(equation_gives_value=False, percent_is_decimal=False)) is None


def test_the_command_takes_conventions_and_names_one_that_it_does_not_know(tmp_path, capsys):
    from typer.testing import CliRunner

    from lte_jax.cli import app

    file, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text(json.dumps({"gold": "5", "prediction": r"\boxed{5 \text{ cm}}"}) + "\n")
    for override, expected in (([], True), (["verify.conventions.units_optional=false"], False)):
        done = CliRunner().invoke(app, ["verify", str(file), "--output", str(output), *override])
        assert done.exit_code == 0, done.output
        assert json.loads(output.read_text())["correct"] is expected
    wrong = CliRunner().invoke(
        app, ["verify", str(file), "--output", str(output), "verify.conventions.unit_optional=0"]
    )
    assert wrong.exit_code == 2 and "did you mean verify.conventions.units_optional?" in wrong.output


def test_a_run_refuses_other_conventions_and_another_reward_but_takes_other_limits():
    from lte_jax.config import Kind
    from lte_jax.storage.run_config import changes

    def changed(*overrides):
        return {change.name: change.kind for change in changes(config.build({}), config.build({}, overrides))}

    method = {"verify.conventions.units_optional": Kind.METHOD, "reward": Kind.METHOD}
    assert changed("verify.conventions.units_optional=false", "reward=a.b:c") == method
    limits = ("workers=7", "timeout_s=9", "memory_mb=999", "batch_timeout_s=9", "equality_timeout_s=9")
    assert set(changed(*(f"verify.{limit}" for limit in limits)).values()) == {Kind.APART}
