"""What memory this process may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""A container's bound, where Linux says it: control groups of version 2, and of version 1."""
_SHARE = 0.75
"""Of a machine's memory; the rest is for Spark's own process and the system."""


def allowed_bytes(memory_gb: float) -> tuple[float | None, str]:
    """Bytes that training may use, and what they are in words.

    Args:
        memory_gb: GiB that are allowed; 0: three quarters of what the machine or the container has.

    Returns:
        None for the bytes where the system doesn't say.
    """
    if memory_gb:
        return memory_gb * 2**30, "index.memory_gb"
    there_is = machine_bytes(_LIMITS)
    return (None, "not known") if there_is is None else (_SHARE * there_is, "three quarters of this machine's")


def machine_bytes(limits: tuple[Path, ...] = _LIMITS) -> int | None:
    """Memory of the machine, or of the container if that is less; None where the system doesn't say.

    Args:
        limits: files that hold a container's bound, if it has one.
    """
    found = [bound for file in limits if (bound := _number_in(file))]
    with suppress(AttributeError, OSError, ValueError):  # not a system of that kind
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found, default=None)


def _number_in(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None
