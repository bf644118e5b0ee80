"""Motion of a verb: the pose of object and hand over time, in the actor's own frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Verbs that are another one played backwards, so that no single frame tells them apart.
REVERSED = {"put": "take", "close": "open", "empty": "fill"}


class Take(NamedTuple):
    """One filmed segment: `num_frames` of motion, then `gap` frames of stillness.

    amplitude: 1 is the full motion. hue_jitter: largest shift of an object's hue.
    """

    num_frames: int
    gap: int
    amplitude: float
    hue_jitter: float


class Pose(NamedTuple):
    """State at one moment.

    reach: distance of the object from the body, 0 at the body, 1 far on the table.
    lateral, lift: displacement to the side and upwards, -1..1.
    opening: of the lid, 0..1.
    level: of the content, 0..1; None: no content is visible.
    grip: 1 if the hand is at the object, 0 if it hangs at the body.
    hand_lift: height of the hand above the object, 0..1.
    """

    reach: float = 0.5
    lateral: float = 0.0
    lift: float = 0.0
    opening: float = 0.0
    level: float | None = None
    grip: float = 1.0
    hand_lift: float = 0.0


@dataclass(frozen=True)
class Motion:
    """One performance of a verb.

    onset, end: when the motion starts and stops, shares of the segment.
    cycles, phase: of the repeated motions (wash, shake, chop).
    amplitude: 1 is the full motion.
    """

    verb: str
    onset: float
    end: float
    cycles: float
    phase: float
    amplitude: float

    @classmethod
    def draw(cls, verb: str, amplitude: float, rng: np.random.Generator) -> Motion:
        return cls(
            verb=REVERSED.get(verb, verb),
            onset=float(rng.uniform(0.0, 0.2)),
            end=float(rng.uniform(0.8, 1.0)),
            cycles=float(rng.uniform(2.0, 3.5)),
            phase=float(rng.uniform(0.0, 1.0)),
            amplitude=amplitude * float(rng.uniform(0.85, 1.1)),
        )

    def pose(self, time: float) -> Pose:
        """Pose at `time`, 0..1 of the segment; clamped outside."""
        share = min(max((time - self.onset) / (self.end - self.onset), 0.0), 1.0)
        progress = share * share * (3.0 - 2.0 * share)
        wave = math.sin(2.0 * math.pi * (self.cycles * time + self.phase)) * self.amplitude
        match self.verb:
            case "take":
                return Pose(reach=0.5 + (0.5 - progress) * self.amplitude)
            case "open":
                return Pose(opening=progress * self.amplitude)
            case "fill":
                return Pose(level=0.5 + (progress - 0.5) * self.amplitude)
            case "wash":
                return Pose(lateral=wave)
            case "shake":
                return Pose(lift=wave)
            case "point":
                return Pose(reach=0.9, grip=0.6 * progress)
            case "chop":
                return Pose(hand_lift=abs(wave))
            case "idle":
                return Pose(grip=0.0)
        raise ValueError(f"no motion for {self.verb!r}")
