"""The environment of every test, set before jax is imported: eight virtual CPU devices, compiled programs kept from run
to run, no network.
"""

import os
import signal
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# Files, by their minutes
LONGEST = ("targets", "train", "faults", "compiled", "processes", "rollout", "bucket", "study")

os.environ["JAX_PLATFORMS"] = os.environ.get("LTE_TEST_PLATFORM", "cpu")  # cuda, tpu: kernels on their device
# A test runs its programs once or twice: without LLVM's optimisations they compile in 40% of the time, in the commands
# that tests start, too (but commands.AS_USERS_RUN). Flags from outside are left as they are.
FAST_COMPILE = "--xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS') or FAST_COMPILE} --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(REPOSITORY / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)  # a test reads the partitioner's warnings
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would children


def pytest_collection_modifyitems(items):
    """The longest files first: of two workers, none is left alone with one at the end."""
    place = {f"test_{name}.py": i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))
