"""What verifying the outputs of a run costs: files of the sizes that a run on FER2013 leaves, in a new process."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import Row, medians, seconds
from fer.engine import disk
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.refs import Ref

_MB = 10**6
_OUTPUTS = {  # of 35,887 images of 48x48: stage -> megabytes of each file
    "download": [65],
    "index": [3.3] * 18 + [2] * 18,
    "preprocess": [9.4] * 9,
    "balance": [9.4] * 13,
    "others": [1] * 20,
}


def run() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        workspace = LocalWorkspace(temporary)
        refs = [_output(workspace, stage, sizes) for stage, sizes in _OUTPUTS.items()]
        paths = list(Path(temporary).rglob("*.bin"))
        total = sum(path.stat().st_size for path in paths)

        def verify() -> None:
            for ref in refs:
                workspace.folder(ref)

        def verify_first() -> None:
            for path in paths:  # as a process that has not read them yet
                os.utime(path, ns=(time.time_ns() - 10**9,) * 2)
            verify()

        cpu = medians({"first": lambda: _cpu_s(verify_first), "again": lambda: _cpu_s(verify)})
        wall = seconds({"first": verify_first, "plain": lambda: [disk.sha256(path) for path in paths]})
        what = f"verifying {total / _MB:,.0f} MB in {len(paths)} files"
        allowed = "the second that a cached run may spend on it"
        yield Row(f"{what}, CPU time; reference: {allowed}", cpu["first"], "s", 1, at_most=1)
        yield Row(f"{what}; reference: SHA-256 in one thread", wall["first"], "s", wall["plain"], at_most=1.1)
        asked_again = "the same again in the same process, CPU time; reference: the first time"
        yield Row(asked_again, cpu["again"], "s", cpu["first"], at_most=0.1)


def _cpu_s(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _output(workspace: LocalWorkspace, stage: str, sizes: list[float]) -> Ref:
    def write(out: Path) -> Ref:
        for number, size in enumerate(sizes):
            (out / f"{number:02d}.bin").write_bytes(os.urandom(int(size * _MB)))
        return Ref()

    return workspace.run(stage, "bench", Ref, write, resumable=False)
