"""One run per folder in a bucket, where nothing can be locked. Here the bucket is a folder, and times are short."""

import json
import threading
import time

import pytest
from etils import epath

from lte_jax.config import ConfigError
from lte_jax.storage import locks
from lte_jax.storage.locks import BucketLock


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, seconds in (("RENEW_S", 0.05), ("GONE_S", 2.0), ("SETTLE_S", 0.1)):
        monkeypatch.setattr(locks, name, seconds)


def test_a_live_run_is_seen_and_named(tmp_path):
    run, said = epath.Path(tmp_path), []
    first = BucketLock(run, said.append)
    with pytest.raises(ConfigError, match=r"another process is running here \(.*, process \d+\); wait for it"):
        BucketLock(run, said.append)
    assert "looking for up to 2 s whether it still is" in said[0]
    first.check()
    first.release()
    assert not (run / "lock").exists()
    BucketLock(run, said.append).release()
    assert len(said) == 1  # nothing was found


def test_what_a_killed_run_left_is_taken_over(tmp_path):
    run = epath.Path(tmp_path)
    (run / "lock").write_text(json.dumps({"id": "other", "who": "a host, process 1", "n_renewed": 7}))
    taken = BucketLock(run, lambda text: None)
    taken.check()
    taken.release()


def test_of_two_that_start_at_once_one_is_refused(tmp_path):
    run, outcomes = epath.Path(tmp_path), []

    def start() -> None:
        try:
            outcomes.append(BucketLock(run, lambda text: None))
        except ConfigError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(outcome, ConfigError) for outcome in outcomes) == [False, True]
    next(outcome for outcome in outcomes if isinstance(outcome, BucketLock)).release()


def test_a_run_that_slept_while_another_took_its_folder_notices(tmp_path):
    run = epath.Path(tmp_path)
    slept = BucketLock(run, lambda text: None)
    (run / "lock").write_text(json.dumps({"id": "other", "who": "a host, process 1", "n_renewed": 0}))
    with pytest.raises(ConfigError, match="a host, process 1"):
        for _ in range(600):  # its thread looks when the machine lets it
            time.sleep(0.1)
            slept.check()
    slept.release()
    assert json.loads((run / "lock").read_text())["id"] == "other"  # it is not removed, nor renewed over
