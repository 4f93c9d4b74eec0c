"""Metrics to a Weights & Biases project. The run keeps its id in the run folder, so that a resumed run continues it."""

import json
from collections.abc import Callable, Mapping

from etils import epath

from lte_jax.config import ConfigError
from lte_jax.storage.paths import is_remote


class WandB:
    """One W&B run with the resolved settings as its config; neither code nor environment variables are sent by us.

    Steps that a resumed run repeats are dropped by W&B, which keeps what it was told first. Without a key or a server
    it is kept on the disk, and `say` hears of it: a run may not fail for what only watches it.
    """

    def __init__(self, project: str, run: epath.Path, settings: dict, say: Callable[[str], None]):
        try:
            import wandb
        except ImportError:
            raise ConfigError(f"log.wandb = {project} needs wandb: pip install 'lte_jax[wandb]'") from None
        kept = run / "wandb.json"
        known = json.loads(kept.read_text(encoding="utf-8"))["id"] if kept.is_file() else None
        asked = {
            "project": project,
            "name": run.name,
            "id": known,
            "resume": "allow",
            "dir": None if is_remote(run) else str(run),
            "config": settings,
            "save_code": False,
        }
        try:
            self._run = wandb.init(**asked)
        except wandb.errors.Error as error:  # no key, no network, a server that does not answer
            reason = " ".join(str(error).split())
            say(f"log.wandb = {project}: going on offline, `wandb sync` sends it later ({reason:.200})")
            self._run = wandb.init(**asked, mode="offline")
        kept.write_text(json.dumps({"id": self._run.id}), encoding="utf-8")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()
