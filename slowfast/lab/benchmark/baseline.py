"""The published steps in plain code, which the data engine is measured against.

Legend: T frames, H W pixels of the decoded frame, S crop side, A frames of the slow pathway.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast.datasets.clips.sampling import slow_indices
from slowfast.datasets.clips.transforms import Placement
from slowfast.datasets.pairing.pairs import Tier

MEAN, STD = 0.45, 0.225
# Frames of the fast pathway per frame of the slow one.
ALPHA = 4
# Grey levels (0..255) of a normalised difference of 1.
GREY = 255 * STD
# Name of the published steps in a table.
BASELINE = "published steps"
# The published loader looks for every frame below three roots.
_OTHER_ROOTS = ("/nonexistent/train_rgb_frames", "/nonexistent/test_rgb_frames")


def load_clip(paths: Sequence[str], placement: Placement) -> list[Tensor]:
    """[slow (3, A, S, S), fast (3, T, S, S)] float32, processed as full frames in float.

    Read, stack, scale to 0..1, normalise, resize, crop, flip, gather the slow pathway.
    """
    frames = np.stack([_read(path) for path in paths])
    clip = torch.from_numpy(frames).float() / 255.0
    clip = (clip - torch.tensor([MEAN] * 3)) / torch.tensor([STD] * 3)
    clip = clip.permute(3, 0, 1, 2)
    size = (placement.height, placement.width)
    if clip.shape[2:] != size:
        clip = F.interpolate(clip, size=size, mode="bilinear", align_corners=False)
    p = placement
    fast = clip[:, :, p.top : p.top + p.size, p.left : p.left + p.size]
    if p.flip:
        fast = fast.flip(-1)
    slow = torch.index_select(fast, 1, torch.from_numpy(slow_indices(len(paths), ALPHA)))
    return [slow, fast.contiguous()]


def grey_levels(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference of two normalised clips, in grey levels."""
    return float((ours - theirs).abs().max()) * GREY


def _read(path: str) -> np.ndarray:
    for root in _OTHER_ROOTS:
        os.path.exists(f"{root}/{path}")  # noqa: PTH110
    if not os.path.exists(path):  # noqa: PTH110
        raise FileNotFoundError(path)
    return np.asarray(cv2.imread(path))


# In the order of the published search, which takes the first tier that is not empty.
_TIERS = (Tier.SAME, Tier.SUBSET, Tier.VERB, Tier.NOUN)


def search_pairs(
    verb: int, noun: int, exo_verbs: Sequence[list[int]], exo_nouns: Sequence[list[int]], k: int
) -> list[int]:
    """The first k exo segments of one ego segment's best tier, one comparison after the other."""
    found: dict[Tier, list[int]] = {tier: [] for tier in _TIERS}
    for index, (verbs, nouns) in enumerate(zip(exo_verbs, exo_nouns, strict=True)):
        if [verb] == verbs and [noun] == nouns:
            found[Tier.SAME].append(index)
        elif verb in verbs and noun in nouns:
            found[Tier.SUBSET].append(index)
        elif verb in verbs:
            found[Tier.VERB].append(index)
        elif noun in nouns:
            found[Tier.NOUN].append(index)
    return next((found[tier] for tier in _TIERS if found[tier]), [])[:k]
