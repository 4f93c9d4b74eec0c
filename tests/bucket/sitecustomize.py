"""On the PYTHONPATH of a process: gs:// through fsspec is a folder of this machine, FAKE_BUCKETS, and acts as a bucket:
an object cannot be appended to or renamed, and writing one makes the folders above it.
"""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import fsspec
from fsspec.implementations.local import LocalFileSystem

ROOT = os.environ["FAKE_BUCKETS"]


class Buckets(LocalFileSystem):
    protocol = ("gs", "gcs")

    @classmethod
    def _strip_protocol(cls, path):
        text = os.fspath(path)
        for prefix in ("gs://", "gcs://"):
            text = text.removeprefix(prefix)
        return text if text.startswith(ROOT) else f"{ROOT}/{text}".rstrip("/")

    def _open(self, path, mode="rb", **options):
        if "a" in mode or "+" in mode:
            raise ValueError(f"{path}: mode {mode}: an object cannot be appended to")
        if "w" in mode:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        return super()._open(path, mode, **options)

    def glob(self, path, **options):
        return [found.removeprefix(f"{ROOT}/") for found in super().glob(self._strip_protocol(path), **options)]

    def mv(self, *arguments, **options):
        raise NotImplementedError("objects are not renamed")

    rename = mv


fsspec.register_implementation("gs", Buckets, clobber=True)
fsspec.register_implementation("gcs", Buckets, clobber=True)

# Orbax asks Google's own library whether the bucket has a hierarchical namespace; it does not.
storage = ModuleType("google.cloud.storage")
storage.Client = lambda: SimpleNamespace(get_bucket=lambda name: SimpleNamespace())
sys.modules["google.cloud"] = ModuleType("google.cloud")
sys.modules["google.cloud"].storage = sys.modules["google.cloud.storage"] = storage
