"""What is left of a forgotten photo or owner: a hash that bars it from coming back, and says nothing else.

SHA-256 in hexadecimal digits of ``photo:ID`` or ``owner:ID``. Whoever has an id can ask whether it was forgotten;
whoever has the hashes can only try all ids.
"""

from __future__ import annotations

import hashlib

PHOTO, OWNER = "photo:", "owner:"


def photo_tombstone(photo_id: int) -> str:
    """The hash of a photo's id: 64 digits."""
    return _hash(f"{PHOTO}{photo_id}")


def owner_tombstone(owner_id: str) -> str:
    """The hash of an owner's id: 64 digits."""
    return _hash(f"{OWNER}{owner_id}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
