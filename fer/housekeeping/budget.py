"""The room that an installation may take on this machine: `FER_DISK_BUDGET_BYTES`."""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from fer import errors
from fer.settings import Settings

_WARNED_FROM = 0.8  # of the budget


class Room(NamedTuple):
    """The bytes that the workspace, the embedded store and all else in FER_HOME take, and what they may."""

    used_bytes: int
    budget_bytes: int

    @property
    def is_short(self) -> bool:
        """Whether it is time to make room."""
        return self.used_bytes >= _WARNED_FROM * self.budget_bytes

    def sentence(self) -> str:
        """The room that is taken, of how much."""
        share = f" ({self.used_bytes / self.budget_bytes:.0%})" if self.budget_bytes else ""
        return f"{self.used_bytes / 1e9:,.1f} of {self.budget_bytes / 1e9:,.1f} GB of the disk budget are used{share}"


def look(configured: Settings) -> Room | None:
    """How much of the budget is used; None without a budget."""
    if configured.disk_budget_bytes is None:
        return None
    return Room(used_bytes([configured.home, configured.workspace_folder]), configured.disk_budget_bytes)


def require(configured: Settings) -> str:
    """A warning where there is little room left, or "". Raises WorkspaceError where there is none."""
    room = look(configured)
    if room is None or not room.is_short:
        return ""
    if room.used_bytes >= room.budget_bytes:
        raise errors.WorkspaceError(
            "A run must begin within the disk budget (FER_DISK_BUDGET_BYTES).",
            received=room.sentence(),
            todo="see what can go, and remove it: fer gc; or raise the budget",
        )
    return f"{room.sentence()}; at 100 % no run begins. See what can go: fer gc"


def used_bytes(folders: list[Path]) -> int:
    """The bytes of the files in folders, each file once, whatever names it has."""
    files: dict[tuple[int, int], int] = {}
    for folder in folders:
        for top, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    stat = Path(top, name).lstat()
                    files[stat.st_dev, stat.st_ino] = stat.st_size
    return sum(files.values())
