"""What a terminal and a log file are told: the screen, lines, sample responses; never a control character."""

import io
from dataclasses import replace

import pytest
from handmade import group, right, rollout, wrong
from reportruns import cut_off, rescued, solved, with_trace
from rich.console import Console

from lte_jax.records import Status
from lte_jax.terminal.clean import clean, clipped
from lte_jax.terminal.live import Live
from lte_jax.terminal.responses import rescue_line, sample_table
from lte_jax.terminal.screen import Screen, sparkline

HOSTILE = "red \x1b[31m and \x1b]0;title\x07 back\x08, \x9b2J, \u202eright to left\u200b, [bold]markup[/bold]"
TAMED = "red [31m and ]0;title back, 2J, right to left, [bold]markup[/bold]"


def rendered(what, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(what)
    return console.file.getvalue()


def on_a_terminal(live: Live, say) -> str:
    """All that `say` makes a terminal show, escape sequences included."""
    live.console = Console(file=io.StringIO(), force_terminal=True, width=120, markup=False, highlight=False)
    say(live)
    live.close()
    return live.console.file.getvalue()


def test_control_and_format_characters_go_and_the_rest_stays():
    assert clean(HOSTILE) == TAMED
    assert clean("a\tb\nc é 中 ∑") == "a\tb\nc é 中 ∑"


def test_a_long_text_is_clipped_in_the_middle_to_one_line():
    assert clipped("one\n  two", 20) == "one two"
    assert clipped("a" * 30 + "b" * 30, 21) == "a" * 9 + " … " + "b" * 9


@pytest.mark.parametrize(
    ("values", "shown"), [([0, 7], "▁█"), ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"), ([3, 3], "▁▁"), ([-1, 0, 1], "▁▅█")]
)
def test_a_sparkline_goes_from_the_lowest_to_the_highest(values, shown):
    assert sparkline(values) == shown


def test_the_screen_shows_what_it_knows_and_nothing_else():
    screen = Screen()
    screen.now = "warm-up 3/9"
    assert rendered(screen).split("\n", 1)[1].strip() == ""
    screen.n_done, screen.n_steps, screen.left, screen.rescue = 3, 9, "left 0:10", "step 2: a problem"
    screen.add("reward", 0.25)
    screen.add("reward", 0.5)
    text = rendered(screen)
    assert "step 3/9" in text and "left 0:10" in text and "last rescue  step 2: a problem" in text
    assert "reward  ▁█  0.5" in text


def test_a_rescue_is_one_line_of_problem_wrong_answers_and_the_right_one():
    assert rescue_line(rescued()) == "six times seven  not 41, 40  ->  42"
    assert rescue_line(solved()) is None and rescue_line(cut_off()) is None
    attempt = rescued().attempts[0]
    told = replace(rescued(), attempts=(replace(attempt, retry=replace(attempt.retry, mode=None, answers=())),))
    assert rescue_line(told) == "six times seven  told more  ->  42"  # by a context, which lists nothing


def test_a_terminal_shows_curves_and_the_last_rescue():
    def say(live):
        live.phase(0, "sample")
        live.step(0, 2, {"reward/mean_before": 0.1}, [rescued()])
        live.step(1, 2, {"reward/mean_before": 0.9}, [solved()])
        live.phase(2, "evaluate")

    shown = on_a_terminal(Live(), say)
    assert "▁█" in shown and "last rescue  step 1: six times seven" in shown and "step 1/2" in shown


def test_a_log_file_has_lines_alone():
    file = io.StringIO()
    live = Live(every=2, file=file)
    live.phase(0, "sample")
    live.step(0, 4, {"reward/mean_before": 0.1}, [rescued()])
    live.step(1, 4, {"reward/mean_before": 0.2, "update/objective": 0.0}, [rescued()])
    live.close()
    assert file.getvalue().startswith("step 2/4  reward 0.200  left")
    assert file.getvalue().count("\n") == 1 and "\x1b" not in file.getvalue()


EQUAL = group(wrong(), wrong(), advantages=[0.0, 0.0])
FILTERED = group(right(), wrong(truncated=True), advantages=[0.0, None])
LOST = group(rollout(Status.CRASH), rollout(Status.TIMEOUT), advantages=[None, None])


@pytest.mark.parametrize(
    ("groups", "n_updates", "said"),
    [
        ([EQUAL], 0, "no update: every group has equal rewards  left"),
        ([LOST, LOST], 0, "no update: none of 4 rollouts has a verdict  left"),
        ([EQUAL, LOST], 0, "equal rewards among the others; 2 of 4 rollouts have no verdict  left"),
        ([FILTERED], 0, "equal rewards among the others; 1 truncated members are left out (overlong.filter)  left"),
        ([EQUAL], 2, "  update: its figures are not finite  left"),
    ],
)
def test_a_step_without_an_update_says_why(groups, n_updates, said):
    rollouts = [member for one in groups for member in one.initial]
    row = {"sample/rollouts": len(rollouts), "sample/undecided": sum(not member.decided for member in rollouts)}
    file = io.StringIO()
    Live(file=file).step(0, 2, {**row, "update/n_updates": n_updates}, groups)
    assert said in file.getvalue()


def test_a_log_file_hears_of_phases_after_a_silence(monkeypatch):
    monkeypatch.setattr("lte_jax.terminal.live.SILENCE_S", 0.0)
    file = io.StringIO()
    Live(file=file).phase(3, "evaluate")
    assert file.getvalue() == "3 steps done: evaluate\n"


def test_sample_responses_are_spread_over_the_step_and_a_rescued_group_shows_its_rescue():
    groups = [solved(index=0, text="first"), solved(index=1, text="second"), rescued(index=2), cut_off(index=3)]
    text = rendered(sample_table(4, groups, 2))
    assert "step 5: sample responses" in text and "first" in text and "second" not in text
    assert "the hint helped" in text and "hinted" in text
    assert rendered(sample_table(0, groups, 9)).count("six times seven") == 4


def test_sample_responses_are_the_models_own():
    assert "given" not in rendered(sample_table(0, [with_trace()], 1))
    assert rescue_line(with_trace()) is None


def test_hostile_text_reaches_no_terminal():
    hostile = group(right(text=HOSTILE))
    text = rendered(sample_table(0, [hostile], 1))
    assert not set(text) & set("\x1b\x07\x08\x9b\u202e\u200b") and "[bold]markup[/bold]" in text


def test_samples_come_with_the_lines_that_are_shown():
    def say(live):
        live.step(0, 4, {}, [solved(text="silent")])
        live.step(1, 4, {}, [solved(text="shown")])

    shown = on_a_terminal(Live(every=2, samples=1), say)
    assert "shown" in shown and "silent" not in shown
    assert "shown" not in on_a_terminal(Live(every=2), say)


def test_a_finished_run_says_where_everything_is(tmp_path):
    file = io.StringIO()
    Live(file=file).finish(tmp_path, {"math": {"pass_at_1": 0.5}})
    text = file.getvalue()
    for expected in ("Pass@1 0.500", f"lte report {tmp_path}", "metrics", "rollouts", "lte eval", "lte export-hf"):
        assert expected in text
