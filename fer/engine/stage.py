"""A stage: a function from Refs and a narrow config to a Ref, whose output is committed once under its key.

@stage.stage("split")
def split(out: Path, validation: ValidationRef, config: SplitConfig, *, workspace, progress) -> SplitRef:
    ...write files under `out`...
    return SplitRef(...)

split(validation, config, workspace=workspace)     # runs, or returns what an earlier run committed
split.key(validation, config)                      # the key of both the workspace and Prefect's cache
"""

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel

from fer import errors
from fer.engine import fingerprint, runners
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.progress import Progress, silent

RefT = TypeVar("RefT", bound=Ref)
_PROCESSES = runners.Processes()


class Stage(Generic[RefT]):
    """A function `produce(out, *inputs, workspace, progress[, runner]) -> Ref` with its name and key.

    The key's fingerprint of the code is taken when the stage is made, as its module is imported: it is that code which
    runs, whatever the files say later.
    """

    def __init__(self, name: str, produce: Callable[..., RefT], resumable: bool):
        self.name = name
        self.produce = produce
        self.resumable = resumable
        self.code = fingerprint.of_module(produce.__module__)
        self.ref_type: type[RefT] = get_type_hints(produce)["return"]
        self.__doc__ = produce.__doc__
        self.__name__ = name
        names = inspect.signature(produce).parameters
        self.inputs = tuple(each for each in names if each not in ("out", "workspace", "progress", "runner"))
        self._in_pieces = "runner" in names

    def key(self, *inputs: Any) -> str:
        """128 bits (hex) of the SHA-256 of the stage's name, config, code and inputs' digests."""
        if len(inputs) != len(self.inputs):
            raise TypeError(f"{self.name} takes {', '.join(self.inputs)}. Received: {len(inputs)} inputs.")
        parts = {name: _identity(value) for name, value in zip(self.inputs, inputs, strict=True)}
        text = json.dumps({"stage": self.name, "inputs": parts, "code": self.code}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __call__(
        self,
        *inputs: Any,
        workspace: Workspace,
        progress: Progress = silent,
        runner: runners.Runner = _PROCESSES,
    ) -> RefT:
        """Return the committed output for these inputs; make it first if there is none, its pieces by `runner`.

        Raises WorkspaceError if the stage's source changed meanwhile, and commits nothing then.
        """

        def produce(out: Path) -> RefT:
            by = {"runner": runner} if self._in_pieces else {}
            made = self.produce(out, *inputs, workspace=workspace, progress=progress, **by)
            if self._source_changed():
                shutil.rmtree(out)  # a resumed attempt must not find what processes of the new code made
                raise errors.WorkspaceError(
                    "A stage's source must stay as it is while it runs.",
                    received=f"the source of stage {self.name} changed while it ran; nothing was committed",
                    todo="run the same command again",
                )
            return made

        return workspace.run(self.name, self.key(*inputs), self.ref_type, produce, resumable=self.resumable)

    def committed(self, *inputs: Any, workspace: Workspace) -> RefT | None:
        """The committed output for these inputs, or None."""
        return workspace.committed(self.name, self.key(*inputs), self.ref_type)

    def _source_changed(self) -> bool:
        try:
            return fingerprint.of_module(self.produce.__module__) != self.code
        except (OSError, SyntaxError):  # removed, or saved in the middle of an edit
            return True


def stage(name: str, *, resumable: bool = False) -> Callable[[Callable[..., RefT]], Stage[RefT]]:
    """Make a stage of a function. `resumable`: it keeps the finished files that it finds in `out`."""
    return lambda produce: Stage(name, produce, resumable)


def _identity(value: Any) -> Any:
    if isinstance(value, Ref):
        return value.digest
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (tuple, list)):
        return [_identity(each) for each in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"A stage takes Refs, configs and plain values. Received: {type(value).__name__}.")
