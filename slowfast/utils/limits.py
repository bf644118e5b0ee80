"""Limits on the sizes that a file may claim.

A few hundred bytes can announce gigabytes. The bounds follow from the size of the file if possible,
otherwise from the use of the format, so ordinary files never reach them.
"""

from __future__ import annotations

# Bytes that any file may take in memory, however small: a parser, one table of usual size.
FREE_BYTES = 128 << 20
# Bytes in memory per byte of a file. Deflated scores and indices, decoded text and arrays that are
# copied once stay below it.
GROWTH = 4

# Parts of a dict key or set member of a pickle. Python hashes a tuple again at every look-up, and
# nested tuples that share their parts have 2^depth of them.
KEY_PARTS = 64
# Bits of an integer of a pickle that is hashed: larger than any id or hash.
KEY_BITS = 1024
# Cells of a table that hold lists: nouns of a segment, of which EPIC-KITCHENS has at most 10.
CELL_ITEMS = 10_000

# Characters of a segment's or video's id. Arrays of ids are as wide as the longest.
ID_CHARACTERS = 512
# Bytes of an image path in an annotation file; arrays of paths are as wide as the longest.
PATH_BYTES = 1024
# Class ids of a class table: maps by class are tuples of this length.
CLASSES = 1_000_000
# Frames of a video: 460 days at 100 frames a second. Positions are int32 in the pair table.
FRAMES = 1 << 32
# Characters of one cell of a CSV file.
CSV_CELL = 1 << 20

# Longest side of a picture, and ratio of its sides: the short side is resized to the crop, and the
# long one grows with it.
PICTURE_SIDE, PICTURE_RATIO = 16_384, 64
# Pixels of a frame of a video: 8K. In small files what they can hold (PIXELS_PER_BYTE), but at
# least the second number.
VIDEO_PIXELS, SMALL_VIDEO_PIXELS = 7_680 * 4_320, 1 << 22
# Pixels per byte of a picture. One of a single colour has 200 to 300.
PIXELS_PER_BYTE = 1_024

# Nodes of a YAML file after its aliases are replaced by what they name: 2^40 in a file of 1 kB.
YAML_NODES = 100_000
# Files that one config reads through _BASE_; each may name several, which may name each other.
BASE_FILES = 64

# Width of an embedding: the largest sentence encoders have 8192.
EMBEDDING_WIDTH = 65_536


def allowed_bytes(file_bytes: int) -> int:
    """Bytes that the content of a file of `file_bytes` may take in memory."""
    return FREE_BYTES + GROWTH * file_bytes


class Budget:
    """Bytes or items that the content of one file may still take."""

    def __init__(self, amount: int, unit: str = "bytes") -> None:
        self._amount = self._left = amount
        self._unit = unit

    def take(self, amount: int) -> None:
        """Raises: ValueError once more than the budget was taken."""
        self._left -= amount
        if amount < 0 or self._left < 0:
            raise ValueError(
                f"it claims more than {self._amount} {self._unit}, too much for a file of its size"
            )
