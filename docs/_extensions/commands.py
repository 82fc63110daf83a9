"""The reference of the commands, made from the command line itself."""

import inspect
from collections.abc import Iterator
from typing import Any

import from_code
from typer.main import get_command

from flows.cli.app import app as command_line


class Commands(from_code.Directive):
    """Every command of `fer` with its arguments and options, from the command line itself."""

    def lines(self) -> Iterator[str]:
        """One heading a command."""
        yield from self._command(get_command(command_line), ["fer"])

    def _command(self, command: Any, path: list[str]) -> Iterator[str]:
        commands = getattr(command, "commands", {})
        arguments = [name for name in map(_argument, command.params) if name]
        yield f"## `{' '.join(path)}`\n"
        yield f"{_help(command.help)}\n"
        words = [*path, *(["COMMAND"] if commands else []), *(["[OPTIONS]"] if command.params else []), *arguments]
        yield f"```\n{' '.join(words)}\n```\n"
        shown = [option for option in command.params if not option.hidden and option.name not in _COMPLETION]
        if shown:
            yield from_code.table("argument or option", "default", "meaning")
            for option in shown:
                names = " or ".join(from_code.code(name) for name in [*option.opts, *option.secondary_opts])
                if option.param_type_name == "argument":
                    names = from_code.code(_argument(option))
                elif option.metavar:
                    names += f" {from_code.code(option.metavar)}"
                empty = option.default in (None, False, "") or callable(option.default)
                default = "required" if option.required else "" if empty else from_code.code(str(option.default))
                yield from_code.row(names, default, _help(option.help))
            yield ""
        for name, sub in commands.items():
            yield from self._command(sub, [*path, name])


_COMPLETION = ("install_completion", "show_completion")


def _argument(parameter: Any) -> str:
    if parameter.param_type_name != "argument":
        return ""
    return str(parameter.metavar or parameter.name.upper())


def _help(text: str | None) -> str:
    """Typer's help is Rich's markup, in which `\\[` is a bracket."""
    return inspect.cleandoc(text or "").replace("\\[", "[").replace("<", "&lt;")
