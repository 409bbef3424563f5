"""Tombstones: hashes that anyone can compute again."""

from __future__ import annotations

import hashlib

from im2gps_spark.photos.tombstone import owner_tombstone, photo_tombstone


def test_a_tombstone_is_the_hash_of_the_id_and_its_kind():
    # As printf photo:42 | sha256sum says.
    assert photo_tombstone(42) == "26ed66d94aab0b4a7b87822068d46ca8667f2e2790ef2bfe2899e1991c3e08ab"
    assert owner_tombstone("42@N00") == hashlib.sha256(b"owner:42@N00").hexdigest()
    assert owner_tombstone("é") == hashlib.sha256(b"owner:\xc3\xa9").hexdigest()


def test_a_photo_and_an_owner_of_the_same_id_are_two():
    assert photo_tombstone(42) != owner_tombstone("42")
