"""What the control groups of Linux leave this process: processors and memory, in versions 1 and 2.

A container's limit stands at the group of the process or at any group above it, and `os.sched_getaffinity` and
`psutil.virtual_memory` know of neither. Where the groups are is said by /proc; elsewhere there are none.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc/self")
_UNIFIED = ""  # the controller of version 2 in /proc/self/cgroup


class Memory(NamedTuple):
    """A limit of memory and what is left under it (bytes)."""

    limit: int
    left: int


def cpus() -> float:
    """How many processors' time this process and those beside it in its groups may take; infinite without a limit."""
    return min((limit for folder in _groups("cpu") for limit in _cpu_limits(folder)), default=math.inf)


def memory() -> Iterator[Memory]:
    """Each limit of memory that holds for this process.

    Files that were read and lie idle count as used there, but make room for who asks.
    """
    for folder in _groups("memory"):
        for limit, usage, idle in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            values = [_read(folder / name) for name in (limit, usage)]
            if all(value.isdigit() for value in values):  # version 2 says "max" where there is no limit
                of_limit, used = map(int, values)
                yield Memory(of_limit, max(0, of_limit - used + _statistic(folder / "memory.stat", idle)))


def _cpu_limits(folder: Path) -> Iterator[float]:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    for one, other in (
        (quota, period),
        (_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")),  # -1 where there is no limit
    ):
        if one.isdigit() and other.isdigit() and int(other) > 0:
            yield int(one) / int(other)


def _groups(controller: str) -> Iterator[Path]:
    """The folders of this process's groups that limit by `controller`, and of all groups above them."""
    path_of: dict[str, str] = {}
    for line in _read(PROC / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        path_of |= dict.fromkeys(controllers.split(","), path)
    for line in _read(PROC / "mountinfo").splitlines():
        mount, _, source = line.partition(" - ")
        fields, (kind, _, options) = mount.split(" "), source.split(" ", 2)
        if kind not in ("cgroup", "cgroup2") or (kind == "cgroup" and controller not in options.split(",")):
            continue
        own_path = path_of.get(_UNIFIED if kind == "cgroup2" else controller)
        if own_path is None:
            continue
        root, top = fields[3], Path(_unescaped(fields[4]))
        # Inside a container the path may be the machine's, of which only what is below the mount's root is seen here.
        is_below = root != "/" and (own_path + "/").startswith(root + "/")
        below = own_path.removeprefix(root) if is_below else own_path
        own = top.joinpath(*(part for part in below.split("/") if part not in ("", "..")))
        yield from (folder for folder in [own, *own.parents] if folder == top or top in folder.parents)


def _unescaped(text: str) -> str:
    """A field of mountinfo, where blanks are octal numbers."""
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


def _statistic(path: Path, name: str) -> int:
    value = next((line.removeprefix(name).strip() for line in _read(path).splitlines() if line.split()[0] == name), "0")
    return int(value) if value.isdigit() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
