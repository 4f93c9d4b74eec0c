"""The figures of a study, by hand: costs, interpolation, spreads, paired differences; tables, picture, rescue."""

import json

import pytest
import studyfiles as files

from lte_jax.config import ConfigError
from lte_jax.report.runs import (
    RunLog,
    interpolated,
    last_evaluation,
    read_evaluations,
    read_run,
    without_compiling,
)
from lte_jax.storage.run_files import evaluated_steps
from lte_jax.study.bases import bases_table, over_bases
from lte_jax.study.plots import plot_curves, plot_differences
from lte_jax.study.rescue import NO_RESCUE, find_rescue, rescue_text
from lte_jax.study.summary import difference_of, spread, summarise
from lte_jax.study.tables import tables
from lte_jax.terminal.clean import clean

# Pass@1 after 0, 2 and 4 steps; lte draws twice the tokens and takes twice the time of grpo.
PASS_AT_1 = {
    ("grpo", 0): (0.2, 0.4, 0.6),
    ("grpo", 1): (0.2, 0.3, 0.4),
    ("extra", 0): (0.2, 0.4, 0.5),
    ("extra", 1): (0.2, 0.5, 0.6),
    ("lte", 0): (0.2, 0.6, 0.9),
    ("lte", 1): (0.2, 0.5, 0.7),
}
WORK = {"grpo": 1, "extra": 2, "lte": 2}


def row(arm, seed, step):
    rescue = {
        "lte": {
            "rescue__hinted_rate": 1.0 if step else 0.4,
            "rescue__hinted_hit_frac": 0.3,
            "rescue__hinted_groups": 1 if step else 3,
        },
        "extra": {"rescue__plain_rate": 0.1, "rescue__plain_hit_frac": 0.02, "rescue__plain_groups": 5},
    }.get(arm, {})
    return files.metrics_row(
        step,
        rollouts=8 * WORK[arm],
        tokens=100 * WORK[arm],
        seconds=10.0 if step == 0 else 0.5 * WORK[arm],
        group__none_pass_frac_before=0.8 - 0.1 * step,
        group__none_pass_frac_after=0.4 - 0.1 * step,
        **rescue,
    )


def found(arm, seed, step):
    value = PASS_AT_1[arm, seed][step // 2]
    return {"heldout": files.evaluation(value, 0.9 - value), "facts": files.evaluation(value / 2, 0.5)}


@pytest.fixture
def study(tmp_path):
    settings = files.config()
    files.write_study(tmp_path, settings, row, found)
    logs = [
        read_run(tmp_path / f"{arm}-{seed}", arm, seed, settings)
        for seed in settings.study.seeds
        for arm in settings.study.arms
    ]
    return settings, logs, summarise(settings, logs)


def test_a_spread_holds_every_seed():
    assert spread({3: 0.2, 5: 0.6}) == {"mean": pytest.approx(0.4), "min": 0.2, "max": 0.6, "by_seed": {3: 0.2, 5: 0.6}}
    assert spread({}) is None


def test_held_out_figures_by_step(study):
    _, _, summary = study
    assert (summary["held_out"], summary["steps"]) == ("heldout", [0, 2, 4])
    end = summary["arms"]["lte"]["by_step"][-1]
    assert end["step"] == 4
    assert end["pass_at_1"] == spread({0: 0.9, 1: 0.7})
    assert end["pass_at_4"]["by_seed"] == {0: pytest.approx(1.0), 1: pytest.approx(0.8)}
    assert end["none_pass_frac"]["max"] == pytest.approx(0.2)


def test_costs_are_cumulative_and_without_compiling(study):
    _, logs, summary = study
    middle, end = summary["arms"]["lte"]["by_step"][1:]
    assert (middle["rollouts"]["mean"], middle["tokens"]["mean"], middle["seconds"]["mean"]) == (32, 400, 2.0)
    assert (end["rollouts"]["mean"], end["tokens"]["mean"], end["seconds"]["mean"]) == (64, 800, 4.0)
    assert summary["runs"]["lte-0"]["compile_s"] == pytest.approx(9.0)
    assert summary["runs"]["grpo-1"]["compile_s"] == pytest.approx(9.5)


def test_only_steps_far_above_their_neighbours_count_as_compiling():
    assert without_compiling([9.0, 1.0, 1.0, 2.9, 1.0]) == [1.0, 1.0, 1.0, 2.9, 1.0]
    slower = [0.1] * 30 + [1.0] * 30  # responses that grew: slow, but not an exception
    assert without_compiling(slower) == slower


def test_values_at_equal_cost_lie_on_straight_lines(study):
    _, _, summary = study
    assert summary["budgets"] == {"rollouts": 32, "tokens": 400, "seconds": 2.0}  # what grpo spent
    figures = summary["arms"]["lte"]
    for cost in ("rollouts", "tokens", "seconds"):
        assert figures[f"at_equal_{cost}"]["pass_at_1"]["by_seed"] == {0: pytest.approx(0.6), 1: pytest.approx(0.5)}
    assert summary["arms"]["grpo"]["at_equal_tokens"]["pass_at_1"]["mean"] == pytest.approx(0.5)


def test_interpolation():
    assert interpolated([0, 10, 30], [0.0, 1.0, 3.0], 20) == 2.0
    assert interpolated([0, 10, 30], [0.0, 1.0, 3.0], 10) == 1.0
    assert interpolated([0, 10, 30], [0.0, 1.0, 3.0], 30) == 3.0
    with pytest.raises(ValueError, match="outside of the measured range 0 to 30"):
        interpolated([0, 10, 30], [0.0, 1.0, 3.0], 31)


def test_differences_are_paired_by_seed(study):
    _, _, summary = study
    at_the_end = summary["paired"]["grpo"]["lte"]["end"]["pass_at_1"]
    assert at_the_end["by_seed"] == {0: pytest.approx(0.3), 1: pytest.approx(0.3)}
    assert summary["paired"]["extra"]["lte"]["end"]["pass_at_1"]["by_seed"][1] == pytest.approx(0.1)
    at_equal_tokens = summary["paired"]["grpo"]["lte"]["tokens"]["pass_at_1"]["by_seed"]
    assert at_equal_tokens == {0: pytest.approx(0.0), 1: pytest.approx(0.1)}
    assert {reference: [*arms] for reference, arms in summary["paired"].items()} == {
        "grpo": ["extra", "lte"],
        "extra": ["lte"],
    }
    settings, logs, _ = study
    chosen = settings.study.model_copy(update={"references": ("lte", "absent", "grpo")})
    paired = summarise(settings.model_copy(update={"study": chosen}), logs)["paired"]
    assert {reference: [*arms] for reference, arms in paired.items()} == {"lte": ["grpo", "extra"], "grpo": ["extra"]}
    assert paired["lte"]["grpo"]["end"]["pass_at_1"]["by_seed"] == {0: pytest.approx(-0.3), 1: pytest.approx(-0.3)}


def with_offset(summary: dict, offset: float) -> dict:
    """The same study on a base where every difference is larger by `offset`."""
    moved = json.loads(json.dumps(summary))
    for arms in moved["paired"].values():
        for places in arms.values():
            for measures in places.values():
                for measure, values in measures.items():
                    by_seed = {seed: value + offset for seed, value in values["by_seed"].items()}
                    measures[measure] = difference_of(by_seed)
    return moved


def test_two_that_agree_by_chance_are_no_finding():
    assert difference_of({0: 0.009, 1: 0.009})["apart"] is None
    assert difference_of({0: 0.3, 1: 0.31, 2: 0.29})["apart"] is True
    assert difference_of({0: 0.3, 1: 0.31, 2: -0.29})["apart"] is False


def test_the_base_is_the_unit_of_a_study_of_several(study, tmp_path):
    _, _, summary = study
    bases = {f"task{n}": with_offset(summary, offset) for n, offset in enumerate((0.0, -0.1, 0.1))}
    found = over_bases(bases)
    at_the_end = found["paired"]["grpo"]["lte"]["end"]["pass_at_1"]
    assert at_the_end["by_seed"] == {b: pytest.approx(x) for b, x in (("task0", 0.3), ("task1", 0.2), ("task2", 0.4))}
    half = 4.303 * 0.1 / 3**0.5  # three bases, two degrees of freedom; the two seeds of each do not narrow it
    assert at_the_end["interval"] == pytest.approx((0.3 - half, 0.3 + half)) and at_the_end["apart"]
    of_extra = found["paired"]["extra"]["lte"]["end"]["pass_at_1"]["by_seed"]
    assert of_extra["task0"] == pytest.approx(0.25)  # the mean of two seeds, .4 and .1
    text = bases_table(found)
    assert "| lte - grpo, bases   | +0.300 | +0.052 to +0.548 |          yes | +.30 +.20 +.40 |" in text
    assert "|   task1, seeds      | +0.200 | +0.200 to +0.200 |      too few |      +.20 +.20 |" in text
    assert "- lte against grpo at the end: significant, better by 0.300." in text
    assert "- lte against grpo at equal sampled tokens: not significant." in text
    assert "9 intervals at 95%" in text and max(map(len, text.splitlines())) <= 100
    plot_differences(tmp_path / "differences.png", "a title", found["paired"])
    assert (tmp_path / "differences.png").read_bytes().startswith(b"\x89PNG")
    one = bases_table(over_bases({"task0": summary}))
    assert "too few bases to say; wanted 3 or more" in one and "one value: none" in one


def test_a_study_without_the_reference_arms_has_no_pairs(tmp_path):
    settings = files.config(arms={"lte": ["explore.strategy=lte"]}, seeds=[1])
    files.write_study(tmp_path, settings, row, found)
    summary = summarise(settings, [read_run(tmp_path / "lte-1", "lte", 1, settings)])
    assert summary["paired"] == {}
    assert "paired" not in tables(summary)


def test_training_figures_at_both_ends(study):
    _, _, summary = study
    training = summary["arms"]["grpo"]["training"]  # 4 steps: the first two and the last two
    assert training["none_pass_before"]["start"]["mean"] == pytest.approx(0.75)
    assert training["none_pass_before"]["end"]["mean"] == pytest.approx(0.55)
    assert training["none_pass_after"]["end"]["mean"] == pytest.approx(0.15)


def test_rescues_weigh_groups_and_stand_beside_plain_extra_rollouts(study):
    _, _, summary = study
    rescue = summary["arms"]["lte"]["rescue"]
    assert rescue.keys() == {"hinted"}
    assert rescue["hinted"]["rescue_rate_all"]["mean"] == pytest.approx((3 * 0.4 + 3 * 1.0) / 6)
    assert rescue["hinted"]["rescue_rate_start"]["mean"] == pytest.approx((3 * 0.4 + 1.0) / 4)
    assert summary["arms"]["extra"]["rescue"]["plain"]["hit_rate_all"]["mean"] == pytest.approx(0.02)
    assert summary["arms"]["grpo"]["rescue"] == {}


def test_the_other_benchmark_is_given_before_and_after(study):
    _, _, summary = study
    facts = summary["arms"]["lte"]["other_benchmarks"]["facts"]
    assert facts["start"]["pass_at_1"]["mean"] == pytest.approx(0.1)
    assert facts["end"]["pass_at_1"]["mean"] == pytest.approx(0.4)


def test_tables_fit_and_print_one_of_pass_at_n_and_none_pass(study):
    _, _, summary = study
    text = tables(summary)
    assert max(map(len, text.splitlines())) <= 100
    assert "Pass@4 from 4 samples is 1 - none-pass" in text
    assert "| lte   |  0.200 |  0.550 |  0.800 |" in text
    assert "0.800 (.70-.90)" in text
    at_the_end, at_tokens, _ = (part for part in text.split("###") if "paired differences" in part)
    assert "| lte - grpo   | +0.300 | +0.300 to +0.300 |      too few | +.30 +.30 |" in at_the_end
    assert "| lte - grpo   | +0.050 | -0.585 to +0.685 |      too few | +.00 +.10 |" in at_tokens
    ends = next(part for part in text.split("###") if "after 4 steps" in part)
    assert "Pass@4" in ends and "none-pass" not in ends


def test_tables_print_none_pass_where_k_is_less_than_the_samples(tmp_path):
    settings = files.config(eval={"k": [2]}, arms={"grpo": ["explore.strategy=grpo"]}, seeds=[0])

    def at_2(arm, seed, step):
        return {"heldout": {**files.evaluation(0.5, 0.25), "pass_at_2": 0.6, "pass_at_4": 0.0}}

    def without_pass_at_4(arm, seed, step):
        return {"heldout": {k: v for k, v in at_2(arm, seed, step)["heldout"].items() if k != "pass_at_4"}}

    files.write_study(tmp_path, settings, row, without_pass_at_4)
    summary = summarise(settings, [read_run(tmp_path / "grpo-0", "grpo", 0, settings)])
    assert summary["measures"] == ["pass_at_1", "pass_at_2", "none_pass_frac"]
    ends = next(part for part in tables(summary).split("###") if "after 4 steps" in part)
    assert "none-pass" in ends and "0.250" in ends


def test_evaluated_steps_end_with_the_last():
    assert evaluated_steps(files.config(steps=5, every=2)) == [0, 2, 4, 5]
    assert evaluated_steps(files.config(steps=4, every=2)) == [0, 2, 4]


def test_a_missing_step_or_evaluation_is_refused(tmp_path):
    settings = files.config()
    rows = [files.metrics_row(step) for step in range(4)]
    whole = {step: {"heldout": files.evaluation(0.5, 0.5)} for step in (0, 2, 4)}
    run = files.write_run(tmp_path / "a", rows[:3], whole)
    with pytest.raises(ConfigError, match="wanted one row for each of 4 steps, got 3"):
        read_run(run, "a", 0, settings)
    run = files.write_run(tmp_path / "b", rows, {0: whole[0], 4: whole[4]})
    with pytest.raises(ConfigError, match="no evaluation of step 2"):
        read_run(run, "b", 0, settings)


def test_a_half_written_evaluation_is_passed_over(tmp_path):
    whole = {step: {"heldout": files.evaluation(step / 10, 0.5)} for step in (0, 2, 4)}
    run = files.write_run(tmp_path, [], whole)
    assert last_evaluation(run)["heldout"]["pass_at_1"] == 0.4
    path = run / "eval" / "000004.jsonl"
    path.write_text(path.read_text()[:-5])
    assert list(read_evaluations(run)) == [0, 2]
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))  # cut between two lines
    assert list(read_evaluations(run)) == [0, 2]
    path.write_text("")
    assert last_evaluation(run)["heldout"]["pass_at_1"] == 0.2
    assert last_evaluation(tmp_path / "absent") == {}


def test_the_picture_is_written(study, tmp_path):
    _, logs, _ = study
    arms = {arm: [log for log in logs if log.arm == arm] for arm in files.ARMS}
    plot_curves(tmp_path / "curves.png", "a title", "heldout", arms)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_whose_evaluations_hold_one_point_per_step():
    log = RunLog("lte", 0, tuple(files.metrics_row(step) for step in range(2)), {
        0: {"heldout": files.evaluation(0.1, 0.9)}, 2: {"heldout": files.evaluation(0.3, 0.7)},
    })  # fmt: skip
    assert [(p["step"], p["tokens"], p["pass_at_1"]) for p in log.points("heldout")] == [(0, 0, 0.1), (2, 200, 0.3)]


def rescued(step, listed, response="it is 42", **more):
    right, wrong = files.rollout_row(response, "42", correct=True), files.rollout_row("39", "39")
    return files.group_row(step, [files.attempt_row(listed, [wrong, right])], **more)


def test_the_latest_rescue_with_the_longest_list_is_shown(tmp_path):
    one = files.write_rollouts(tmp_path / "lte-0", [rescued(3, ["41", "40", "39"]), rescued(7, ["41"])])
    two = files.write_rollouts(tmp_path / "lte-1", [rescued(7, ["41", "40"]), files.group_row(9, [])])
    run, group = find_rescue([one, two])
    assert (run.name, group["step"]) == ("lte-1", 7)
    text = rescue_text((run, group))
    for shown in ("six times seven", "2 x 41", "1 x 40", "lists 41, 40", "1 of 2 hinted", "it is 42", "42, equal"):
        assert shown in text


def test_what_is_not_a_rescue_by_a_list_is_not_shown(tmp_path):
    right = files.rollout_row("42", "42", correct=True)
    groups = [
        files.group_row(1, [files.attempt_row(["41"], [files.rollout_row("40", "40")])]),
        files.group_row(2, [files.attempt_row([], [right])]),  # "concise" alone
        files.group_row(3, [files.attempt_row([], [right], origin="extra")]),
    ]
    assert find_rescue([files.write_rollouts(tmp_path / "lte-0", groups)]) is None
    assert rescue_text(find_rescue([tmp_path / "absent"])) == NO_RESCUE


def test_control_characters_are_stripped(tmp_path):
    run = files.write_rollouts(tmp_path / "lte-0", [rescued(1, ["41"], "it\x1b[2J is\u202e\n42")])
    text = rescue_text(find_rescue([run]))
    assert "\x1b" not in text and "\u202e" not in text
    assert "    it[2J is\n    42" in text
    assert clean("a\tb\r\x00c") == "a\tbc"
