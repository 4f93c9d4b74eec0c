"""The devices of a target that is not here, as its compiler describes them."""

import jax
from jax.experimental import topologies

from lte_jax.plan.targets import Device, Target


def devices(target: Target) -> list:
    """Devices to compile for; the process must have begun with the variables of `Target.environment`."""
    if target.platform == "cpu":
        return jax.devices()
    if target.platform == "gpu":
        layout = f"1x{target.n_hosts}x{target.host_devices}"
        return _described("cuda", "", target_config=gpu_description(target.device), topology=layout)
    options = dict(target.device.options)
    if target.n_hosts == 1 and target.device.dims == 2:
        options["chips_per_host_bounds"] = [*target.shape, 1]
    name = f"{target.name.partition(':')[0]}:{'x'.join(map(str, target.shape))}"
    return _described("tpu", name, **options)


def _described(platform: str, name: str, **options) -> list:
    return list(topologies.get_topology_desc(platform=platform, topology_name=name, **options).devices)


def gpu_description(device: Device) -> str:
    """What the CUDA compiler wants to know of a Hopper GPU (XLA's GpuTargetConfigProto as text)."""
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: {int(device.bandwidth)} l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: {int(device.memory / 0.92)} shared_memory_per_block_optin: 232448
  cuda_compute_capability {{ major: 9 }} registers_per_core_limit: 65536 registers_per_block_limit: 65536
}}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 8 }} runtime_version {{ major: 12 minor: 9 }}
device_description_str: "NVIDIA {device.kind}"
"""
