"""The processes that this one has started and that still live; one that has ended may wait to be reaped."""

import psutil


def children() -> list[psutil.Process]:
    """Of this process, without those that have ended."""
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
