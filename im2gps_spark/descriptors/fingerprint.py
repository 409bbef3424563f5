"""Versions of descriptors: a hash of all that shapes their numbers."""

from __future__ import annotations

import hashlib
import json

DIGITS = 16


def fingerprint(**shapes: object) -> str:
    """The first 16 hexadecimal digits of SHA-256 over a canonical JSON of the arguments.

    Args:
        shapes: parameters, the revision of the code, checksums of model files: whatever changes the vectors
        when
            it changes. Numbers, strings, booleans, and lists, tuples and dictionaries of them.
    """
    text = json.dumps(shapes, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
