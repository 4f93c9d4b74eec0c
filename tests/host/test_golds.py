"""The golds of a file are looked at once; what is remembered of it changes nothing of what is decided."""

import json

import pytest

from lte_jax.config import ConventionsConfig
from lte_jax.host import golds
from lte_jax.host.answers.decide import _SURE, decide, gold_text, read
from lte_jax.host.problems import ProblemError
from lte_jax.host.verify import check_gold
from lte_jax.records import Status
from lte_jax.run.session import open_problems


class Verifier:
    """The part of a verifier that looks at golds; counts its looks."""

    def __init__(self, reward=False, **conventions):
        self._conventions = ConventionsConfig(**conventions)
        self.conventions = "" if reward else self._conventions.model_dump_json()
        self.asked = []

    def check_gold(self, answer):
        self.asked.append(answer)
        return check_gold(answer, self._conventions) if self.conventions else None

    def try_reward(self, problem):
        return []


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens a file of these answers by such a verifier; how many of them it looked at."""
    monkeypatch.setattr(golds, "_WORTH", 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def opened(*answers, say=lambda text: None, **settings):
        path = tmp_path / "p.jsonl"
        path.write_text("".join(json.dumps({"problem": "x", "answer": answer}) + "\n" for answer in answers))
        verifier = Verifier(**settings)
        open_problems(path, verifier, say)
        return len(verifier.asked)

    return opened


def notes(tmp_path):
    return list((tmp_path / "cache/lte_jax/golds").glob("*"))


def test_a_second_start_does_not_look_again(opened, tmp_path):
    assert [opened("1", "2", "3"), opened("1", "2", "3")] == [3, 0]
    assert len(notes(tmp_path)) == 1 and opened("1", "2") == 2 and len(notes(tmp_path)) == 1  # few are not worth it


def test_another_file_other_conventions_or_other_code_are_looked_at(opened, monkeypatch):
    assert opened("1", "2", "3") == 3
    assert opened("1", "2", "4") == 3 and opened("1", "2", "3", units_optional=False) == 3
    monkeypatch.setattr(golds, "_code", lambda: "changed")
    assert opened("1", "2", "3") == 3


def test_the_code_is_that_of_all_that_reads_answers(monkeypatch, tmp_path):
    """Planted in a copy: one more line in a file of the verifier is other code."""
    (tmp_path / "lte_jax/host/answers").mkdir(parents=True)
    (tmp_path / "lte_jax/records.py").write_text("")
    parser = tmp_path / "lte_jax/host/answers/parse.py"
    parser.write_text("a = 1\n")
    monkeypatch.setattr(golds, "__file__", str(tmp_path / "lte_jax/host/golds.py"))
    before = golds._code.__wrapped__()
    parser.write_text("a = 2\n")
    assert golds._code.__wrapped__() != before


def test_a_bad_file_is_refused_each_time_and_so_it_is_after_a_custom_reward(opened):
    bad = ("1", "2", "3", r"\frac{")
    for _ in range(2):
        with pytest.raises(ProblemError, match=":4: answer"):
            opened(*bad)
    opened(*bad, reward=True)
    with pytest.raises(ProblemError, match=":4: answer"):
        opened(*bad)


def test_a_note_that_is_not_whole_counts_for_nothing(opened, tmp_path):
    opened("1", "2", "3")
    (note,) = notes(tmp_path)
    note.write_text(note.name[:20])
    assert [opened("1", "2", "3"), opened("1", "2", "3")] == [3, 0]


def test_a_cache_folder_that_cannot_be_written_is_said(opened, tmp_path):
    (tmp_path / "cache").write_text("a file")
    said = []
    assert [opened("1", "2", "3", say=said.append), opened("1", "2", "3")] == [3, 3]
    assert "the next start looks at its answers again, since" in said[0] and str(tmp_path / "cache") in said[0]


@pytest.mark.parametrize(
    "answer",
    ["0", "-0", "007", "1" * 30, "-3.10", "0.0", r"\frac{10}{4}", r"-\frac{0}{7}", "-12/8", "0/1"],
)
def test_a_gold_that_is_not_read_is_one_that_can_be(answer):
    assert _SURE.fullmatch(answer)
    assert read(gold_text(answer)) and decide(answer, answer) is Status.EQUAL


@pytest.mark.parametrize("answer", ["", "-", "1.", ".5", r"\frac{1}{0}", "1/0", "1/01", r"\frac{1}{2}3", "1,000", "x"])
def test_any_other_gold_is_read(answer):
    assert not _SURE.fullmatch(answer)
