"""Files of a run folder are there whole or not at all, and an error says which one it was."""

from pathlib import Path

import pytest
from etils import epath

from lte_jax.storage.paths import copy_files, is_remote, on_disk, open_path, write_whole


def test_a_path_is_a_disks_or_a_buckets(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fsspec.get_filesystem_class", lambda protocol: None)
    assert str(open_path("runs/one")) == f"{tmp_path}/runs/one" and not is_remote(open_path("runs/one"))
    assert str(open_path("gs://bucket/runs/one")) == "gs://bucket/runs/one" and is_remote(open_path("gs://bucket/a"))
    assert open_path(Path("a")) == open_path("a") == open_path(epath.Path("a"))


def test_a_bucket_that_nothing_here_can_read_is_refused(monkeypatch):
    def missing(protocol):
        raise ImportError(f"Please install what reads {protocol}")

    monkeypatch.setattr("fsspec.get_filesystem_class", missing)
    with pytest.raises(
        ValueError, match=r"gs://bucket/run: Please install what reads gs; .* pip install 'lte_jax\[gcs\]'"
    ):
        open_path("gs://bucket/run")


def test_a_file_is_replaced_whole(tmp_path, monkeypatch):
    path = epath.Path(tmp_path) / "file"
    write_whole(path, "eins\nzwei ü\n")
    write_whole(path, b"three")
    assert path.read_text() == "three" and [p.name for p in tmp_path.iterdir()] == ["file"]

    def full(self, data):
        Path(self).write_bytes(data[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_bytes", full)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        write_whole(path, "four")
    assert path.read_text() == "three"


def test_a_folders_files_are_copied_and_a_disks_folder_is_taken_as_it_is(tmp_path):
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    for name in "bac":
        (source / name).write_text(name)
    copy_files(source, epath.Path(tmp_path) / "deep/target", last="a")
    files = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "deep/target").iterdir()}
    assert set(files) == set("abc") and max(files.values()) == files["a"]
    assert on_disk(epath.Path(source)) == source
