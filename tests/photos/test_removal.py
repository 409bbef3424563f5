"""Lists of what is to be forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.photos.removal import Removal, read_removal
from im2gps_spark.photos.tombstone import owner_tombstone, photo_tombstone

LIST = """# Asked for on 2 March
17
  9223372036854775807  # by mail

42@N00
owner:somebody else
owner:17
17
"""


def test_a_list_of_photos_and_owners():
    assert read_removal(LIST) == Removal((17, 2**63 - 1), ("17", "42@N00", "somebody else"))


def test_an_empty_list_names_nothing():
    assert len(read_removal("# nobody\n\n")) == 0


@pytest.mark.parametrize("word", ["0", "-3", "9223372036854775808", "1.5", "somebody", "owner:", "photo:", "１７"])
def test_a_line_that_is_neither_is_named_by_its_number_and_not_by_what_it_says(word):
    with pytest.raises(ValueError, match="line 3") as caught:
        read_removal(f"17\n\n{word}\n18\n")
    said = "line 3 is neither a photo's id (a whole number) nor an owner's (with @, or owner:ID)"
    assert str(caught.value) == said


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.integers(1, 2**63 - 1)),
    st.lists(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1)),
)
def test_what_is_written_is_read(photos, owners):
    text = "\n".join([*map(str, photos), *(f"owner:{owner}" for owner in owners)])
    assert read_removal(text) == Removal.of(photos, owners)


def test_lists_are_put_together():
    both = Removal.of([3, 1], ["b"]) | Removal.of([2, 3], ["a", "b"])
    assert both == Removal((1, 2, 3), ("a", "b"))
    assert len(both) == 5
    assert both.tombstones == [*map(photo_tombstone, (1, 2, 3)), *map(owner_tombstone, ("a", "b"))]
