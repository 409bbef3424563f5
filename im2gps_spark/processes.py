"""Processes that were started here, and are to end."""

from __future__ import annotations

import subprocess

_PATIENCE_S = 10.0


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks a process to end, and kills it if it does not in ten seconds."""
    process.terminate()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
