"""Where the commands print: whole lines where no terminal is, and only letters that it has."""

import io
import os
import sys

import pytest

from flows.cli import console


def test_what_is_no_terminal_is_given_whole_lines_whatever_its_width_is_said_to_be(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    path = "/data/" + "a long name/" * 30
    console._console().print(path, soft_wrap=False)
    assert capsys.readouterr().out == f"{path}\n"


def test_a_terminal_keeps_its_width(monkeypatch):
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("COLUMNS", "40")
        assert console._console().width == 40
    os.close(master)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_the_encoding_does_not_have_is_escaped(monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    console.escape_what_cannot_be_shown()
    console._console().print(console.plain("✓ données\udce9"))
    stream.flush()
    shown = stream.buffer.getvalue().decode(encoding)
    assert (
        shown
        == {
            "ascii": "\\u2713 donn\\xe9es\\udce9\n",
            "latin-1": "\\u2713 données\\udce9\n",
            "utf-8": "✓ données\\udce9\n",
        }[encoding]
    )
