"""A walk through a flow that looks for each stage's output instead of making it: what would run, and what is there.

The body of the flow itself is walked, so that a plan has the stages of a run. Where an output is not made yet the walk
goes on with a blank one, which has no digest: what is given it has no key yet. Nothing is written.
"""

import contextlib
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, TypeVar, cast

from pydantic import BaseModel

from fer.engine.code import key_parts
from fer.engine.outputs import OutputRecord
from fer.engine.refs import Ref
from fer.engine.stage import Found, Stage
from fer.engine.workspace import Workspace
from fer.recipes import reasons
from fer.recipes.reasons import Reason

ModelT = TypeVar("ModelT", bound=BaseModel)
RefT = TypeVar("RefT", bound=Ref)


class Step(NamedTuple):
    """A stage of a run, by the name of its task.

    `key` is known where all that it is given is made; `waits_for` names the steps before whose outputs are not.
    `record` is that of the output, if it is cached.
    """

    name: str
    stage: str | None  # None: a task of several stages, or of none
    key: str | None
    record: OutputRecord | None
    waits_for: tuple[str, ...]
    reason: Reason | None
    is_forced: bool = False
    parts: tuple["Step", ...] = ()  # of a task of several stages
    model: str = ""  # of a task that is no stage: what it is about

    @property
    def state(self) -> Literal["cached", "runs", "unknown"]:
        """`unknown`: it runs unless what it waits for comes out as it was before."""
        if self.parts:
            states = {part.state for part in self.parts}
            return next(state for state in ("runs", "unknown", "cached") if state in states)
        if self.record is not None and not self.is_forced:
            return "cached"
        is_new = self.reason is not None and (self.reason.nearest is None or self.reason.is_of_its_own)
        return "unknown" if self.waits_for and not is_new and not self.is_forced else "runs"


class Task(NamedTuple):
    """What a walk needs to know of a task: how its output is found; which stage it runs, if it is one.

    `presumed`: what is taken for granted of an output that is not made yet. `through`: walks through the stages of a
    task of several, to the output of the last one. `model`: the name of the model that a task of no stage is about.
    """

    name: str
    ref_type: type[Ref]
    find: Callable[[Mapping[str, Any]], Found | None]
    stage: Stage[Any] | None = None
    presumed: Mapping[str, Any] = types.MappingProxyType({})
    through: "Callable[[Walk, Mapping[str, Any]], Ref] | None" = None
    model: str = ""


class Walk:
    """One walk; `workspace` is to be looked at, and not written. `forced`: the names of tasks that run in any case."""

    def __init__(self, workspace: Workspace, forced: Collection[str] = ()):
        self.workspace = workspace
        self.steps: list[Step] = []
        self._forced = forced

    def output(self, task: Task, parameters: Mapping[str, Any]) -> Ref:
        """The output of a task for these parameters; a blank one if it isn't made. Notes the step."""
        name, stage = task.name, task.stage
        unmade = tuple(dict.fromkeys(ref.path.partition("/")[0] for ref in key_parts.unmade(list(parameters.values()))))
        if task.through is not None:
            within = Walk(self.workspace, self._forced)
            last = task.through(within, parameters)
            parts = tuple(within.steps)
            record = parts[-1].record if all(part.state == "cached" for part in parts) else None
            self.steps.append(Step(name, None, None, record, unmade, None, parts=parts))
            return last if last.digest else blank(task.ref_type, path=f"{name}/")
        found = None if unmade else task.find(parameters)
        is_forced = name in self._forced and not unmade
        reason, key = None, None
        if stage is not None:
            inputs = [parameters[given] for given in stage.inputs]
            key = None if unmade else stage.key(*inputs)
            if found is None:
                reason = reasons.of(stage.parts(*inputs), stage.name, self.workspace)
        record = None if found is None else found.record
        stage_name = None if stage is None else stage.name
        self.steps.append(Step(name, stage_name, key, record, unmade, reason, is_forced, model=task.model))
        if found is not None:
            return found.ref
        return blank(task.ref_type, **{"path": f"{name}/", **task.presumed})

    def stage_output(self, stage: Stage[RefT], *inputs: Any, **presumed: Any) -> RefT:
        """The output of a stage for these inputs, without a task; `presumed` as for one."""

        def find(given: Mapping[str, Any]) -> Found | None:
            return stage.found(*(given[name] for name in stage.inputs), workspace=self.workspace)

        task = Task(stage.name, stage.ref_type, find, stage, presumed)
        return cast(RefT, self.output(task, dict(zip(stage.inputs, inputs, strict=True))))


_current: ContextVar[Walk | None] = ContextVar("_current", default=None)


def current() -> Walk | None:
    """The walk that goes on; None where stages are run."""
    return _current.get()


@contextlib.contextmanager
def walking(walk: Walk) -> Iterator[None]:
    """Have what is called within the block looked up instead of done."""
    token = _current.set(walk)
    try:
        yield
    finally:
        _current.reset(token)


def is_made(*values: Any) -> bool:
    """Whether these Refs, and those in these records, are of outputs that are made."""
    return not key_parts.unmade(values)


def blank(model: type[ModelT], **known: Any) -> ModelT:
    """A record of this type in which only the fields `known` say something."""
    fields = {
        name: field.get_default(call_default_factory=True) if not field.is_required() else _blank(field.annotation)
        for name, field in model.model_fields.items()
        if name not in known
    }
    return model.model_construct(**fields, **known)


def _blank(annotation: Any) -> Any:
    """The least that a field of this type can hold."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return arguments[0]
    if origin is typing.Annotated:
        return _blank(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return None if type(None) in arguments else _blank(arguments[0])
    kind = origin or annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return blank(kind)
    if kind in (tuple, dict, list, str, int, float, bool):
        return kind()
    return {} if kind is Mapping else () if kind is Sequence else None


def result_of(function: Callable[..., Any]) -> type[Ref]:
    """The type of the Ref that a function says that it returns."""
    return cast(type[Ref], typing.get_type_hints(function)["return"])
