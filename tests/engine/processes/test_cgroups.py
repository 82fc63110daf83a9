"""The limits of control groups, as they are on the machines and in the containers of both versions."""

import math
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from fer.engine.processes import cgroups, process_pool

V2 = "36 30 0:30 {root} {top} rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "36 30 0:30 {root} {top} rw,relatime shared:9 - cgroup cgroup rw,{controllers}\n"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A /proc/self with one mount of groups at `mounted groups` below, and files of limits there."""
    top = tmp_path / "mounted groups"

    def make(own: str, mount: str, files: dict[str, str], root: str = "/") -> None:
        escaped = str(top).replace(" ", "\\040")
        (tmp_path / "cgroup").write_text(own)
        line = mount.format(root=root, top=escaped, controllers="cpu,cpuacct,memory")
        (tmp_path / "mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + line)
        for name, text in files.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(f"{text}\n")
        monkeypatch.setattr(cgroups, "PROC", tmp_path)

    return make


@pytest.mark.parametrize(
    ("own", "mount", "root", "files", "cpus"),
    [
        ("0::/\n", V2, "/", {"cpu.max": "200000 100000"}, 2),
        ("0::/\n", V2, "/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/\n", V2, "/", {}, math.inf),
        ("0::/user/fer/run\n", V2, "/", {"user/fer/run/cpu.max": "50000 100000"}, 0.5),
        ("0::/user/fer/run\n", V2, "/", {"user/cpu.max": "150000 100000", "user/fer/cpu.max": "max 100000"}, 1.5),
        ("4:cpu,cpuacct:/fer\n", V1, "/", {"fer/cpu.cfs_quota_us": "300000", "fer/cpu.cfs_period_us": "100000"}, 3),
        ("4:cpu,cpuacct:/fer\n", V1, "/", {"fer/cpu.cfs_quota_us": "-1", "fer/cpu.cfs_period_us": "100000"}, math.inf),
        # A container of version 1 that sees the machine's paths, with its own group mounted.
        ("4:cpu:/docker/0f\n", V1, "/docker/0f", {"cpu.cfs_quota_us": "1000", "cpu.cfs_period_us": "1000"}, 1),
        # A sub-group that a container's init system made.
        ("0::/../sub\n", V2, "/..", {"cpu.max": "700 100", "sub/cpu.max": "400 100"}, 4),
        ("", V2, "/", {"cpu.max": "200000 100000"}, math.inf),
    ],
)
def test_the_least_quota_of_the_own_group_and_those_above_holds(machine, own, mount, root, files, cpus):
    machine(own, mount, files, root)
    assert cgroups.cpus() == cpus


@pytest.mark.parametrize(
    ("own", "mount", "files", "left"),
    [
        ("0::/\n", V2, {"memory.max": "1000", "memory.current": "400"}, [(1000, 600)]),
        ("0::/\n", V2, {"memory.max": "max", "memory.current": "400"}, []),
        (
            "0::/a/b\n",
            V2,
            {"a/memory.max": "1000", "a/memory.current": "900", "a/memory.stat": "anon 400\ninactive_file 500"},
            [(1000, 600)],
        ),
        (
            "5:memory:/a\n",
            V1,
            {
                "a/memory.limit_in_bytes": "1000",
                "a/memory.usage_in_bytes": "1400",
                "memory.limit_in_bytes": "9000",
                "memory.usage_in_bytes": "8000",
                "memory.stat": "inactive_file 1\ntotal_inactive_file 300",
            },
            [(1000, 0), (9000, 1300)],
        ),
        ("0::/\n", V2, {}, []),
    ],
)
def test_every_limit_of_memory_holds_in_both_versions(machine, own, mount, files, left):
    machine(own, mount, files)
    assert list(cgroups.memory()) == left


def test_cores_and_workers_are_bounded(machine, monkeypatch):
    monkeypatch.setattr(process_pool.os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    machine("0::/run\n", V2, {"cpu.max": "800000 100000", "run/cpu.max": "250000 100000"})
    assert process_pool.usable_cores() == 3
    machine("0::/run\n", V2, {"memory.max": str(3 * 250_000_000), "memory.current": str(250_000_000)})
    assert process_pool.usable_workers() == 2
    machine("0::/run\n", V2, {"memory.max": "1000", "memory.current": "900"})
    assert process_pool.usable_workers() == 1


def test_a_machine_without_groups_has_no_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(cgroups, "PROC", tmp_path / "missing")
    assert cgroups.cpus() == math.inf
    assert list(cgroups.memory()) == []


CPU = Path("/sys/fs/cgroup/cpu")


@pytest.mark.skipif(not os.access(CPU / "cgroup.procs", os.W_OK), reason="only where groups of version 1 can be made")
def test_a_real_quota_is_heeded():
    group = CPU / f"fer-test-{uuid.uuid4().hex}"
    group.mkdir()
    try:
        (group / "cpu.cfs_quota_us").write_text("50000")
        show = (
            "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()));"
            "from fer.engine.processes import cgroups, process_pool; print(cgroups.cpus(), process_pool.usable_cores())"
        )
        command = [sys.executable, "-c", show, str(group / "cgroup.procs")]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        group.rmdir()
    assert run.stdout.split() == ["0.5", "1"]
