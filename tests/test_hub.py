"""Hub ids: a folder wins, a commit is wanted, and what the Hub says becomes one line. No network is asked here."""

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from lte_jax.config import ConfigError, ModelConfig
from lte_jax.model_io.hub import TEXTS, WEIGHTS, model_path

ID, COMMIT = "Qwen/Qwen3-4B-Base", "906bfd4b4dc7f14ee4320094d8b41684abff8539"


def test_a_folder_is_taken_as_it_is_and_has_no_revision(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ID).mkdir(parents=True)
    assert str(model_path(ModelConfig(path=ID))) == ID
    with pytest.raises(ConfigError, match="model.revision is set, but model.path = .* is a folder"):
        model_path(ModelConfig(path=ID, revision=COMMIT))
    assert str(model_path(ModelConfig(path="/absent/folder/x"))) == "/absent/folder/x"  # its reader names it


@pytest.mark.parametrize("weights", [True, False])
def test_only_what_is_needed_is_fetched_at_the_commit(monkeypatch, tmp_path, weights):
    asked = []
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: asked.append((a, k)) or str(tmp_path))
    found = model_path(ModelConfig(path=ID, revision=COMMIT), weights=weights, say=lambda _: None)
    patterns = [*TEXTS, *(WEIGHTS if weights else ())]
    assert found == tmp_path and asked == [((ID,), {"revision": COMMIT, "allow_patterns": patterns})]
    assert not any(pattern.endswith((".bin", ".py", "*")) and pattern != "tokenizer*" for pattern in patterns)


@pytest.mark.parametrize("revision", ["", "main", COMMIT[:12]])
def test_what_is_not_a_commit_is_refused_with_the_newest(monkeypatch, revision):
    class Hub:
        def model_info(self, name, timeout):
            return type("Info", (), {"sha": COMMIT})

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    with pytest.raises(ConfigError, match=f"got {revision or 'none'}. The newest is model.revision={COMMIT}"):
        model_path(ModelConfig(path=ID, revision=revision))


def test_without_a_network_there_is_one_clear_line(monkeypatch):
    with pytest.raises(ConfigError, match="The Hub could not be asked for the newest: .*offline") as error:
        model_path(ModelConfig(path=ID))
    assert "\n" not in str(error.value)

    def fail(*_, **__):
        raise LocalEntryNotFoundError("no connection\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(ConfigError, match=f"^{ID} at {COMMIT}: cannot be fetched: no connection$"):
        model_path(ModelConfig(path=ID, revision=COMMIT), say=lambda _: None)
