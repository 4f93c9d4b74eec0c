"""What a plan is made for: TPU slices, GPUs or this machine's CPU, and where the compiler of each is found.

Figures are of one device as jax counts them (a v7x chip is two). Limits are what the TPU compiler itself enforces; of a
GPU's memory 92%, which needs XLA_PYTHON_CLIENT_MEM_FRACTION=.92. Speeds are the vendors' for dense bfloat16:
https://docs.cloud.google.com/tpu/docs/v4 (and /v5e, /v5p, /v6e, /tpu7x), https://www.nvidia.com/en-us/data-center/h100/
(and /h200/), https://docs.nvidia.com/dgx/dgxh100-user-guide (one 400 Gbit/s port for each GPU between hosts).
"""

import importlib.util
import math
import os
import re
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

GIB = 2**30


class TargetError(ValueError):
    """A target that is not known, or whose compiler is not there. The message says what was wanted and what to do."""


@dataclass(frozen=True)
class Device:
    """`links`: bytes/s that a device sends to all its neighbours together; `network`: to other hosts, where slower."""

    kind: str
    memory: float  # bytes that a program may use
    flops: float  # /s, bfloat16
    bandwidth: float  # bytes/s to its memory
    links: float
    host: int  # devices of one process
    dims: int = 2  # axes of a slice
    most: int = 256  # chips of the largest slice
    network: float | None = None
    options: tuple = ()


TPUS = {
    "v4": Device("TPU v4", 30.5 * GIB, 275e12, 1228e9, 300e9, 4, 3, 4096, options=(("chip_config_name", "megacore"),)),
    "v5e": Device("TPU v5e", 15.75 * GIB, 197e12, 819e9, 200e9, 4),
    "v5p": Device("TPU v5p", 95.74 * GIB, 459e12, 2765e9, 600e9, 4, 3, 6144),
    "v6e": Device("TPU v6e", 31.25 * GIB, 918e12, 1640e9, 448e9, 4),
    "tpu7x": Device("TPU v7x core", 94.75 * GIB, 1153e12, 3690e9, 600e9, 8, 3, 9216),
}
GPUS = {
    "h100": Device("H100", 0.92 * 79.6 * GIB, 989e12, 3350e9, 450e9, 8, network=50e9),
    "h200": Device("H200", 0.92 * 139.8 * GIB, 989e12, 4800e9, 450e9, 8, network=50e9),
}
KNOWN = "v4:2x2x4, v5e:8x8, v5p:4x4x2, v6e:8x8, tpu7x:4x4x4, h100:8, h200:8, cpu:8"


@dataclass(frozen=True)
class Target:
    """One kind of device and how many. `shape`: chips along each axis of a slice; devices elsewhere."""

    name: str
    platform: str  # tpu, gpu or cpu
    device: Device
    shape: tuple[int, ...]

    @property
    def n_devices(self) -> int:
        return math.prod(self.shape) * (2 if self.name.startswith("tpu7x") else 1)

    @property
    def n_hosts(self) -> int:
        """Processes that a run on it has."""
        return 1 if self.platform == "cpu" else -(-self.n_devices // self.host_devices)

    @property
    def host_devices(self) -> int:
        """Devices of one process; the small v5e and v6e slices lie on one host of up to eight chips."""
        if self.platform == "cpu" or (self.device.dims == 2 and self.n_devices <= 8):
            return self.n_devices
        return self.device.host

    @property
    def n_chips(self) -> int:
        """What is paid for: a v7x chip is two devices."""
        return math.prod(self.shape)

    @property
    def links(self) -> float:
        """Bytes/s between devices: where the network between hosts is slower, it decides."""
        between_hosts = self.device.network if self.n_hosts > 1 else None
        return between_hosts or self.device.links

    def host(self) -> "Target":
        """One of its hosts, as a target of its own."""
        if self.n_hosts == 1:
            return self
        kind = self.name.partition(":")[0]
        shape = (self.host_devices,) if self.platform == "gpu" else (2, 2, 1)[: self.device.dims]
        return replace(self, name=f"{kind}:{'x'.join(map(str, shape))}", shape=shape)

    def environment(self) -> dict[str, str]:
        """Variables of a process that compiles for it. Raises TargetError where the compiler is not there."""
        variables = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
        if self.platform == "cpu":
            flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", variables.get("XLA_FLAGS", ""))
            variables["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={self.n_devices}".strip()
            return variables
        folder = compiler_folder(self.platform)
        package = Path(__file__).resolve().parents[2]
        paths = [str(package), str(folder) if folder else "", variables.get("PYTHONPATH", "")]
        variables["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        if self.platform == "tpu":
            # Without the second, one process at a time may load the compiler: it takes it for the device.
            variables |= {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
        elif folder:
            libraries = [str(folder / "nvidia" / name / "lib") for name in ("cudnn", "cu13")]
            variables["LD_LIBRARY_PATH"] = os.pathsep.join([*libraries, variables.get("LD_LIBRARY_PATH", "")])
        return variables


def parse(text: str) -> Target:
    """`v5e:8x8`, `h200:8` or `cpu:8`. Raises TargetError that names what is known."""
    name, _, size = text.strip().lower().partition(":")
    shape = tuple(int(part) for part in size.split("x")) if re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", size) else ()
    if name in TPUS:
        device = TPUS[name]
        if len(shape) != device.dims or math.prod(shape) > device.most:
            raise TargetError(
                f"target {text!r}: a slice of {device.kind} has {device.dims} axes and at most {device.most} chips, "
                f"such as {next(word for word in KNOWN.split(', ') if word.startswith(name))}"
            )
        return Target(f"{name}:{size}", "tpu", device, shape)
    if len(shape) == 1 and name in GPUS:
        return Target(f"{name}:{size}", "gpu", GPUS[name], shape)
    if len(shape) == 1 and name == "cpu":
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / shape[0]
        return Target(f"cpu:{size}", "cpu", Device("CPU", memory, 0.0, 0.0, 0.0, shape[0]), shape)
    raise TargetError(f"target {text!r} is not known; wanted a kind and a size, such as {KNOWN}")


def compiler_folder(platform: str) -> Path | None:
    """Where the compiler of a TPU or GPU lies: what launch/targets.sh made for this jax; None where this Python has it.

    Raises TargetError where it is nowhere.
    """
    kind, module = {"tpu": ("tpu", "libtpu"), "gpu": ("cuda", "jax_plugins.xla_cuda13")}[platform]
    for root in (Path.cwd(), Path(__file__).resolve().parents[2]):
        folder = root / ".targets" / f"{kind}-{version('jax')}"
        if (folder / module.replace(".", "/")).is_dir():
            return folder
    if _has(module):
        return None
    raise TargetError(
        f"there is no {platform.upper()} compiler for jax {version('jax')} here; wanted: bash launch/targets.sh {kind}"
    )


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False
