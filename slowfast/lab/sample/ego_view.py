"""The ego camera: close to the action, shaking, with the wearer's hands in view.

Positions are in units of the frame height, x from the centre of the frame, y from its top.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from slowfast.lab.sample.motion import REVERSED, Motion, Pose, Take
from slowfast.lab.sample.shapes import (
    LID_LIFT,
    SHAPES,
    Colour,
    Shape,
    disc,
    draw_object,
    hsv,
    limb,
    shade,
    skin_colour,
)

# Radius of a handled object at reach 0.5; 10 pixels of a frame of 64.
_RADIUS = 0.165
_MARGIN = 10  # pixels of background beyond the frame, for the shake


class Shake:
    """Smooth wandering of a camera: a sum of slow waves in x, y (frame heights) and angle."""

    def __init__(self, amplitude: float, rng: np.random.Generator) -> None:
        self._size = np.array([amplitude, amplitude, 1.2 * amplitude])[:, None] * rng.uniform(
            0.3, 1.0, (3, 3)
        )
        self._frequency = rng.uniform(0.02, 0.12, (3, 3))
        self._phase = rng.uniform(0, 1, (3, 3))

    def at(self, frame: int) -> tuple[float, float, float]:
        """x, y, angle (radians) at a frame."""
        waves = np.sin(2 * np.pi * (self._frequency * frame + self._phase))
        x, y, angle = (self._size * waves).sum(axis=1)
        return float(x), float(y), float(angle)


class _Handled(NamedTuple):
    """The object of an action. x, y: shift of its place. size: factor. tilt: radians."""

    shape: Shape
    x: float
    y: float
    size: float
    tilt: float
    colour: Colour

    @classmethod
    def draw(cls, shape: Shape, hue_jitter: float, rng: np.random.Generator) -> _Handled:
        return cls(
            shape,
            x=float(rng.uniform(-0.1, 0.1)),
            y=float(rng.uniform(-0.04, 0.04)),
            size=float(rng.uniform(0.88, 1.14)),
            tilt=float(rng.uniform(-0.15, 0.15)),
            colour=shape.colour(hue_jitter, rng),
        )


class EgoCamera:
    """The kitchen of one video, seen by the person who works in it."""

    def __init__(self, height: int, width: int, shake: float, rng: np.random.Generator) -> None:
        self._height, self._width, self._shake = height, width, shake
        self._background = self._draw_background(rng)
        self._skin = skin_colour(rng)
        self._sleeve: Colour = hsv(rng.uniform(0, 180), 60, rng.uniform(60, 200))

    def _draw_background(self, rng: np.random.Generator) -> np.ndarray:
        """A worktop of low-contrast grain below a wall: larger than the frame by the margin."""
        height, width = self._height + 2 * _MARGIN, self._width + 2 * _MARGIN
        top = np.array(hsv(rng.uniform(0, 180), rng.uniform(10, 60), rng.uniform(110, 200)))
        grain = rng.normal(0, 10, (height // 4, width // 10, 1)).astype(np.float32)
        image = top + cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
        wall = _MARGIN + int(self._height * rng.uniform(0.08, 0.2))
        image[:wall] = hsv(rng.uniform(0, 180), rng.uniform(10, 50), rng.uniform(60, 220))
        for _ in range(4):
            x, y = int(rng.integers(width)), int(rng.integers(height))
            colour = np.array(hsv(rng.uniform(0, 180), 40, rng.uniform(60, 220)))
            image[y : y + height // 9, x : x + width // 6] *= 0.6
            image[y : y + height // 9, x : x + width // 6] += 0.4 * colour
        return np.clip(image, 0, 255).astype(np.uint8)

    def frames(
        self,
        verb: str,
        noun: str,
        distractors: Sequence[str],
        take: Take,
        rng: np.random.Generator,
    ) -> Iterator[np.ndarray]:
        """Frames (height, width, 3) uint8 BGR of one action.

        The random draws do not depend on the verb: with the same generator, a reversed verb has the
        frames of its counterpart in reverse order.
        """
        motion = Motion.draw(verb, take.amplitude, rng)
        shake = Shake(self._shake, rng)
        handled = _Handled.draw(SHAPES[noun], take.hue_jitter, rng)
        sides = rng.permutation([-1, 1])
        others = [
            (
                SHAPES[name],
                SHAPES[name].colour(take.hue_jitter, rng),
                (float(sides[i % 2]) * rng.uniform(0.36, 0.5), rng.uniform(0.22, 0.42)),
                float(rng.uniform(0.09, 0.12)),
            )
            for i, name in enumerate(distractors)
        ]
        for frame in range(take.num_frames + take.gap):
            time = take.num_frames - 1 - frame if verb in REVERSED else frame
            x, y, angle = shake.at(time)
            warp = self._warp(x, y, angle)
            image = self._view(warp)
            for shape, colour, place, radius in others:
                centre = self._pixel(place, warp)
                draw_object(image, shape, colour, centre, radius * self._height)
            pose = motion.pose(min(max(time / (take.num_frames - 1), 0.0), 1.0))
            self._draw_action(image, pose, handled, angle, warp)
            yield image

    def _warp(self, x: float, y: float, angle: float) -> np.ndarray:
        """(2, 3) affine map from background pixels to frame pixels."""
        centre = np.array([self._width / 2 + _MARGIN, self._height / 2 + _MARGIN])
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        shift = centre - _MARGIN + self._height * np.array([x, y]) - turn @ centre
        return np.hstack([turn, shift[:, None]])

    def _view(self, warp: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(
            self._background, warp, (self._width, self._height), borderMode=cv2.BORDER_REPLICATE
        )

    def _pixel(self, place: tuple[float, float], warp: np.ndarray) -> tuple[float, float]:
        """Frame pixel of a position in the kitchen."""
        background = (
            self._width / 2 + _MARGIN + place[0] * self._height,
            _MARGIN + place[1] * self._height,
            1.0,
        )
        x, y = warp @ background
        return float(x), float(y)

    def _draw_action(
        self, image: np.ndarray, pose: Pose, handled: _Handled, angle: float, warp: np.ndarray
    ) -> None:
        """Draw the handled object and both hands; closer to the body means lower and larger.

        angle: of the camera, radians.
        """
        place = (
            handled.x + 0.18 * pose.lateral,
            handled.y + 0.78 - 0.45 * pose.reach - 0.17 * pose.lift,
        )
        centre = self._pixel(place, warp)
        radius = self._height * _RADIUS * handled.size * (1.3 - 0.6 * pose.reach)
        lid = LID_LIFT * radius * pose.opening
        hands = [
            (centre[0] - 0.95 * radius, centre[1] + 0.35 * radius),
            (centre[0] + 0.85 * radius, centre[1] - 0.5 * radius - lid),
        ]
        for side, hand in zip((-1, 1), hands, strict=True):
            elbow = (self._width / 2 + side * 0.5 * self._height, 1.12 * self._height)
            limb(image, elbow, hand, 0.13 * self._height, self._sleeve)
            wrist = (0.7 * hand[0] + 0.3 * elbow[0], 0.7 * hand[1] + 0.3 * elbow[1])
            limb(image, wrist, hand, 0.10 * self._height, self._skin)
        tilt = handled.tilt + angle
        shape, colour = handled.shape, handled.colour
        draw_object(image, shape, colour, centre, radius, tilt, pose.opening, pose.level)
        for hand in hands:
            width = 0.055 * self._height
            disc(image, hand, width * 1.15, shade(self._skin, 0.6))
            disc(image, hand, width, self._skin)
