"""Metrics as TensorBoard's event files, written by tensorboardX: 90 KB, no TensorFlow."""

from collections.abc import Mapping

from etils import epath

from lte_jax.config import ConfigError
from lte_jax.storage.paths import is_remote


class TensorBoard:
    """Scalars in `folder`. A resumed run purges from its first step on, as the run's own files are cut."""

    def __init__(self, folder: epath.Path):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            said = "log.tensorboard = true needs tensorboardX: pip install 'lte_jax[tensorboard]'"
            raise ConfigError(said) from None
        if is_remote(folder):
            raise ConfigError(
                f"log.tensorboard = true writes to a disk: wanted a run folder there, got {folder.parent}"
            )
        self._folder, self._open = folder, SummaryWriter
        self._writer = None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is None:
            self._writer = self._open(str(self._folder), purge_step=step)
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
