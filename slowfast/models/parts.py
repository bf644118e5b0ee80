"""Parts of a dual model that training can use or switch off."""

from __future__ import annotations

from enum import Enum


class Part(Enum):
    """The value names the part in errors."""

    EGO_PROJECTION = "ego projection"
    EXO_PROJECTION = "exo projection"
    EXO_HEADS = "exo heads"
    FACTOR_PROJECTIONS = "projections by verb and by noun"


# They read exo clips.
EXO_PARTS = frozenset({Part.EXO_PROJECTION, Part.EXO_HEADS, Part.FACTOR_PROJECTIONS})
