"""Random generators that depend on (seed, epoch, index, stream) alone."""

import enum

import numpy as np


class Stream(enum.IntEnum):
    """Independent sources of randomness of one sample or step."""

    ORDER = 0
    EGO = 1
    EXO = 2
    PAIR = 3
    EGO_DROPOUT = 4
    EXO_DROPOUT = 5
    TRIPLET = 6
    PAIR_SHUFFLE = 7
    OTHER_EXO = 8
    OTHER_EXO_CLIP = 9


def generator(seed: int, epoch: int, index: int, stream: Stream) -> np.random.Generator:
    """The generator of one sample (or step `index`) in one epoch, the same in every process."""
    return np.random.Generator(np.random.PCG64([seed, epoch, index, int(stream)]))


def integer_seed(seed: int, epoch: int, index: int, stream: Stream) -> int:
    """A 63-bit seed for generators that take an integer (torch.Generator)."""
    return int(generator(seed, epoch, index, stream).integers(0, 2**63 - 1))
