"""What a stage's key is made of, kept with its output in a form that can be compared: what made a stage run.

The key itself is a digest, of which nobody can say what changed. Beside it are kept every setting and the digest of
every input, of every module and of every library's version. No text in it looks like a key or a password.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, Field, ValidationError

from fer import redaction
from fer.engine.records import Record
from fer.engine.refs import Ref

T = TypeVar("T")

_PATH, _DIGEST = "$ref", "$digest"  # the fields by which an input is told from a config
_DIGITS = 16  # of a module's SHA-256
_SHOWN_DIGITS = 8  # of an output's key
_SHOWN_CHARACTERS = 60  # of a value


class KeyParts(Record):
    """What a key is made of. `code`: module or data file -> digest; `conditions`: library or variable -> value."""

    inputs: dict[str, Any] = Field(description="what the stage was given, by the names of its parameters")
    configs: dict[str, str] = Field(description="of inputs that are configs: their type, `module.Class`")
    code: dict[str, str]
    conditions: dict[str, str]

    def refs(self) -> dict[str, str]:
        """The outputs that it was made from: where they are among the inputs -> `stage/key`."""
        return {name: value.path for name, value in _leaves(self.inputs) if isinstance(value, _Input)}


class Change(NamedTuple):
    """What differs between two keys; `before` and `after` are empty where there was or is none."""

    kind: Literal["setting", "input", "code", "condition"]
    name: str
    before: str
    after: str

    def sentence(self) -> str:
        """The change in one line."""
        if self.kind == "code":
            verb = "was added" if not self.before else "is gone" if not self.after else "changed"
            return f"code: {self.name} {verb}"
        if self.kind == "input" and self.before and self.after:
            return f"{self.name}: other data ({short(self.before)} → {short(self.after)})"
        return f"{self.name}: {short(self.before) or 'none'} → {short(self.after) or 'none'}"


class _Input(NamedTuple):
    path: str
    digest: str


def short(value: str) -> str:
    """A value as it is shown: an output by the first digits of its key, a long text cut."""
    stage, slash, key = value.partition("/")
    if slash and len(key) == 32 and all(letter in "0123456789abcdef" for letter in key):
        return f"{stage}/{key[:_SHOWN_DIGITS]}"
    return value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"


def of(inputs: Mapping[str, Any], code: Mapping[str, str], conditions: Mapping[str, str]) -> KeyParts:
    """The parts of the key of a stage that is given `inputs`; `code`: module or data file -> SHA-256."""
    return KeyParts(
        inputs={name: _described(value) for name, value in inputs.items()},
        configs={
            name: f"{type(value).__module__}.{type(value).__qualname__}"
            for name, value in inputs.items()
            if isinstance(value, BaseModel) and not isinstance(value, Ref)
        },
        code={name: sha256[:_DIGITS] for name, sha256 in code.items()},
        conditions=dict(conditions),
    )


def parse(document: Any) -> KeyParts | None:
    """The parts as a record holds them; None if it has none, or those of a version with others."""
    try:
        return KeyParts.model_validate(document, extra="ignore")
    except ValidationError:
        return None


def reference(described: Any) -> tuple[str, str]:
    """Where an input that is an output is, `stage/key`, and its digest, as `KeyParts.inputs` has them."""
    return str(described[_PATH]), str(described[_DIGEST])


def changes(before: KeyParts, after: KeyParts) -> tuple[Change, ...]:
    """What makes two keys differ: settings, then inputs, code and conditions. Inputs not made yet are left out."""
    old, new = dict(_leaves(before.inputs)), dict(_leaves(after.inputs))
    found = []
    for name in [*new, *(name for name in old if name not in new)]:
        was, now = old.get(name), new.get(name)
        if _same(was, now):
            continue
        kind: Literal["setting", "input"] = "input" if isinstance(was or now, _Input) else "setting"
        found.append(Change(kind, name, _text(was), _text(now)))
    found.sort(key=lambda change: change.kind == "input")
    packages = _packages([*before.code, *after.code])
    found += [
        Change("code", _file(name, packages), before.code.get(name, ""), after.code.get(name, ""))
        for name in sorted(before.code.keys() | after.code.keys())
        if before.code.get(name) != after.code.get(name)
    ]
    found += [
        Change("condition", name, before.conditions.get(name, ""), after.conditions.get(name, ""))
        for name in sorted(before.conditions.keys() | after.conditions.keys())
        if before.conditions.get(name) != after.conditions.get(name)
    ]
    return tuple(found)


def nearest(parts: KeyParts, others: Iterable[T], parts_of: Callable[[T], KeyParts | None]) -> T | None:
    """Of `others` the one whose parts differ in fewest ways; the first of several. Changed code counts as one way."""

    def distance(known: KeyParts) -> int:
        found = changes(known, parts)
        return sum(change.kind != "code" for change in found) + any(change.kind == "code" for change in found)

    measured = ((other, known) for other in others if (known := parts_of(other)) is not None)
    return min(((distance(known), other) for other, known in measured), key=lambda pair: pair[0], default=(0, None))[1]


def unmade(value: Any) -> list[Ref]:
    """The Refs in an input, at any depth, whose outputs are not made yet: they have no digest."""
    if isinstance(value, Ref):
        return [] if value.digest else [value]
    if isinstance(value, BaseModel):
        value = [content for _, content in value]
    elif isinstance(value, Mapping):
        value = list(value.values())
    return [ref for item in value for ref in unmade(item)] if isinstance(value, (tuple, list)) else []


def holds_ref(value: Any) -> bool:
    """Whether a Ref is in it, at any depth: it counts by its digest there too, not by the time that it took."""
    if isinstance(value, BaseModel) and not isinstance(value, Ref):
        value = [content for _, content in value]
    return isinstance(value, Ref) or (isinstance(value, (tuple, list)) and any(map(holds_ref, value)))


def _described(value: Any) -> Any:
    """An input in JSON's types; a Ref by where it is and what is in it."""
    if isinstance(value, Ref):
        return {_PATH: value.path, _DIGEST: value.digest}
    if isinstance(value, BaseModel):
        dumped = value.model_dump(mode="json", warnings="none")  # in a plan it may hold a Ref that is not made yet
        holders = {name: _described(content) for name, content in value if holds_ref(content)}
        return _redacted(dumped) | holders
    if isinstance(value, (tuple, list)):
        return [_described(item) for item in value]
    return _redacted(value)


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redaction.redacted(value)
    if isinstance(value, dict):
        return {redaction.redacted(str(name)): _redacted(content) for name, content in value.items()}
    return [_redacted(item) for item in value] if isinstance(value, list) else value


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values in described inputs, by names such as `config.model.width` or `models[0]`."""
    if isinstance(value, dict) and value.keys() == {_PATH, _DIGEST}:
        yield name, _Input(str(value[_PATH]), str(value[_DIGEST]))
    elif isinstance(value, dict) and value:
        for key, content in value.items():
            yield from _leaves(content, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{name}[{number}]")
    else:
        yield name, value


def _same(was: Any, now: Any) -> bool:
    if isinstance(was, _Input) and isinstance(now, _Input):
        return was.digest == now.digest or not (was.digest and now.digest)
    return bool(was == now) and type(was) is type(now)


def _text(value: Any) -> str:
    match value:
        case _Input(path, digest):
            return path if digest else f"{path}, not made yet"
        case None | "":
            return ""
        case str():
            return value
        case _:
            return json.dumps(value, ensure_ascii=False)


def _packages(names: Sequence[str]) -> set[str]:
    return {name.rpartition(".")[0] for name in names}


def _file(name: str, packages: set[str]) -> str:
    """Where a module's source is; data files are named by their path already."""
    if "/" in name:
        return name
    return f"{name.replace('.', '/')}/__init__.py" if name in packages else f"{name.replace('.', '/')}.py"
