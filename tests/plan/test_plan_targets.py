"""Names of targets, and where their compilers are looked for."""

import pytest

from lte_jax.plan import targets
from lte_jax.plan.targets import TargetError, parse


@pytest.mark.parametrize(
    ("name", "n_chips", "n_devices", "n_hosts", "host"),
    [
        ("v5e:8x8", 64, 64, 16, "v5e:2x2"),
        ("v5e:2x4", 8, 8, 1, "v5e:2x4"),
        ("v5p:2x2x4", 16, 16, 4, "v5p:2x2x1"),
        ("v4:2x2x4", 16, 16, 4, "v4:2x2x1"),
        ("v5p:8x8x16", 1024, 1024, 256, "v5p:2x2x1"),
        ("V6E:16x16", 256, 256, 64, "v6e:2x2"),
        ("tpu7x:2x2x4", 16, 32, 4, "tpu7x:2x2x1"),
        ("h200:8", 8, 8, 1, "h200:8"),
        ("h100:32", 32, 32, 4, "h100:8"),
        ("cpu:3", 3, 3, 1, "cpu:3"),
    ],
)
def test_a_target_says_its_chips_devices_and_processes(name, n_chips, n_devices, n_hosts, host):
    target = parse(name)
    assert (target.n_chips, target.n_devices, target.n_hosts) == (n_chips, n_devices, n_hosts)
    assert target.host().name == host and target.host().n_hosts == 1
    assert target.host().n_devices == target.host_devices


@pytest.mark.parametrize("name", ["v5e", "v5e:8", "v5e:32x32", "v5p:4x4", "h200:2x4", "cpu:0", "v3:2x2", "", "cpu:-1"])
def test_what_is_no_target_is_refused_with_examples(name):
    with pytest.raises(TargetError, match="such as .*:"):
        parse(name)


def test_gpus_of_several_hosts_talk_over_the_network():
    assert parse("h200:16").links < parse("h200:8").links == parse("h200:8").device.links


def test_a_missing_compiler_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "__file__", str(tmp_path / "a/b/targets.py"))
    monkeypatch.setattr(targets, "_has", lambda module: False)
    for name, kind in (("v5e:8x8", "tpu"), ("h200:8", "cuda")):
        with pytest.raises(TargetError, match=f"launch/targets.sh {kind}"):
            parse(name).environment()


def test_a_compiler_of_another_jax_is_not_taken(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "__file__", str(tmp_path / "a/b/targets.py"))
    monkeypatch.setattr(targets, "_has", lambda module: False)
    (tmp_path / ".targets/tpu-0.0.1/libtpu").mkdir(parents=True)
    with pytest.raises(TargetError):
        targets.compiler_folder("tpu")
    wanted = tmp_path / f".targets/tpu-{targets.version('jax')}"
    (wanted / "libtpu").mkdir(parents=True)
    assert targets.compiler_folder("tpu") == wanted


def test_a_cpu_target_has_its_devices_and_no_others():
    flags = parse("cpu:5").environment()["XLA_FLAGS"]
    assert flags.count("xla_force_host_platform_device_count") == 1 and flags.endswith("=5")
