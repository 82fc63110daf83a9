"""A stage: a function from Refs and a narrow config to a Ref, whose output is committed once under its key.

@stage.stage("split")
def split(out: Path, validation: ValidationRef, config: SplitConfig, *, workspace, progress) -> SplitRef:
    ...write files under `out`...
    return SplitRef(...)

split(validation, config, workspace=workspace)     # runs, or returns what an earlier run committed
split.key(validation, config)                      # the key of the output in the workspace
"""

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints

from pydantic import BaseModel

from fer import errors
from fer.engine import outputs, runners
from fer.engine.code import fingerprint, key_parts
from fer.engine.code.key_parts import KeyParts
from fer.engine.outputs import OutputRecord
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.progress import Progress, silent

RefT = TypeVar("RefT", bound=Ref)
_PROCESSES = runners.Processes()


class Found(NamedTuple):
    """An output that was there already, and its record, which says who made it, when and from what."""

    ref: Ref
    record: OutputRecord


class Stage(Generic[RefT]):
    """A function `produce(out, *inputs, workspace, progress[, runner]) -> Ref` with its name and key.

    The code in the key is read when the stage is made, as its module is imported: it is that code which runs, whatever
    the files say later. With it counts the code of the modules that define the inputs' configs: what a config chooses
    by its type, as a training's does its network, is defined there.
    """

    def __init__(self, name: str, produce: Callable[..., RefT], resumable: bool):
        self.name = name
        self.produce = produce
        self.resumable = resumable
        self._code = fingerprint.read(produce.__module__)
        self._codes: dict[tuple[str, ...], fingerprint.Code] = {
            (): self._code
        }  # modules of configs beside the stage's own -> all code together
        self.ref_type: type[RefT] = get_type_hints(produce)["return"]
        self.__doc__ = produce.__doc__
        self.__name__ = name
        names = inspect.signature(produce).parameters
        self.inputs = tuple(name for name in names if name not in ("out", "workspace", "progress", "runner"))
        self._takes_runner = "runner" in names

    def key(self, *inputs: Any) -> str:
        """128 bits (hex) of the SHA-256 of the stage's name, config, code and inputs' digests."""
        if len(inputs) != len(self.inputs):
            raise TypeError(f"{self.name} takes {', '.join(self.inputs)}. Received: {len(inputs)} inputs.")
        values = {name: _identity(value) for name, value in zip(self.inputs, inputs, strict=True)}
        text = json.dumps({"stage": self.name, "inputs": values, "code": self.code(*inputs)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def parts(self, *inputs: Any) -> KeyParts:
        """What the key of the output for these inputs is made of. Of inputs not made yet it holds no digest."""
        code = self._code_for(inputs)
        return key_parts.of(dict(zip(self.inputs, inputs, strict=True)), code.digests, code.conditions)

    def code(self, *inputs: Any) -> str:
        """SHA-256 (hex) of the code that makes the output for these inputs; without any, of the stage's own."""
        return self._code_for(inputs).digest

    def __call__(
        self,
        *inputs: Any,
        workspace: Workspace,
        progress: Progress = silent,
        runner: runners.Runner = _PROCESSES,
        again: bool = False,
    ) -> RefT:
        """Return the committed output for these inputs; make it first if there is none, its work items by `runner`.

        `again`: make it although it is there, and say whether it came out the same; the one that is there is returned.
        Raises WorkspaceError if the stage's source changed meanwhile, and commits nothing then.
        """

        def produce(out: Path) -> RefT:
            options = {"runner": runner} if self._takes_runner else {}
            ref = self.produce(out, *inputs, workspace=workspace, progress=progress, **options)
            if self._source_changed(inputs):
                shutil.rmtree(out)  # a resumed attempt must not find files that processes of the new code wrote
                raise errors.WorkspaceError(
                    "A stage's source must stay as it is while it runs.",
                    received=f"the source of stage {self.name} changed while it ran; nothing was committed",
                    todo="run the same command again",
                )
            return ref

        made_from = self.parts(*inputs)
        if again:
            remade = workspace.remake(self.name, self.key(*inputs), self.ref_type, produce, made_from)
            if remade.aside is None:
                progress.note(remade.sentence())
            else:
                workspace.say(f"{self.name}: {remade.sentence()}")
            return remade.ref
        return workspace.run(
            self.name, self.key(*inputs), self.ref_type, produce, resumable=self.resumable, made_from=made_from
        )

    def found(self, *inputs: Any, workspace: Workspace) -> Found | None:
        """The committed output for these inputs, and its record; None if there is none, or it is not whole."""
        record = workspace.record(self.name, self.key(*inputs))
        return Found(outputs.ref_in(record, self.ref_type), record) if record is not None else None

    def _code_for(self, inputs: tuple[Any, ...]) -> fingerprint.Code:
        modules = self._modules_of(inputs)
        if modules not in self._codes:
            self._codes[modules] = self._code.joined(fingerprint.read(*modules))
        return self._codes[modules]

    def _modules_of(self, inputs: tuple[Any, ...]) -> tuple[str, ...]:
        """The modules of the inputs' configs that the stage does not reach by itself."""
        return tuple(sorted(set(_config_modules(inputs)) - self._code.modules.keys()))

    def _source_changed(self, inputs: tuple[Any, ...]) -> bool:
        """Whether the files now hold code that does something else."""
        try:
            current = fingerprint.read(self.produce.__module__, *self._modules_of(inputs))
            return not current.does_the_same(self._code_for(inputs))
        except (OSError, SyntaxError):  # removed, or saved in the middle of an edit
            return True


def stage(name: str, *, resumable: bool = False) -> Callable[[Callable[..., RefT]], Stage[RefT]]:
    """Make a stage of a function. `resumable`: it keeps the finished files that it finds in `out`."""
    return lambda produce: Stage(name, produce, resumable)


def _identity(value: Any) -> Any:
    if isinstance(value, Ref):
        return value.digest
    if isinstance(value, BaseModel):
        holders = {name: _identity(content) for name, content in value if key_parts.holds_ref(content)}
        return value.model_dump(mode="json") | holders
    if isinstance(value, (tuple, list)):
        return [_identity(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"A stage takes Refs, configs and plain values. Received: {type(value).__name__}.")


def _config_modules(value: Any) -> Iterator[str]:
    """The modules that define the configs in `value`, at every depth."""
    if isinstance(value, BaseModel) and not isinstance(value, Ref):
        yield type(value).__module__
        value = [content for _, content in value]
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _config_modules(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _config_modules(item)
