"""The exo camera: fixed, far, with small figures at their tables.

Positions are in units of the frame height, x from the centre of the frame, y from its top.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from slowfast.lab.sample.motion import REVERSED, Motion, Pose, Take
from slowfast.lab.sample.shapes import (
    LID_LIFT,
    SHAPES,
    Colour,
    disc,
    draw_object,
    ellipse,
    fill,
    hsv,
    limb,
    skin_colour,
)

# Radius of an object: 6 pixels of a frame of 64.
_RADIUS = 0.094
_TABLE = 0.75  # y of the table top


@dataclass(frozen=True)
class Performance:
    """Action of one person: a verb (`idle`: nothing) to some nouns, at a sink or a table."""

    verb: str
    nouns: tuple[str, ...]
    at_sink: bool = False


@dataclass(frozen=True)
class Clothes:
    """Colours of one person of a video."""

    skin: Colour
    shirt: Colour
    trousers: Colour

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Clothes:
        return cls(
            skin=skin_colour(rng),
            shirt=hsv(rng.uniform(0, 180), rng.uniform(20, 90), rng.uniform(60, 235)),
            trousers=hsv(rng.uniform(0, 180), 50, rng.uniform(30, 120)),
        )


@dataclass(frozen=True)
class Figure:
    """One person at their place in a segment.

    x: of the body. facing: -1 or 1, the direction of the table.
    """

    x: float
    facing: int
    clothes: Clothes

    def box(self, height: int, width: int) -> list[float]:
        """Bounding box [x1, y1, x2, y2] in pixels, inside the frame."""
        left, right = (width / 2 + (self.x + side * 0.13) * height for side in (-1, 1))
        return [max(left, 0.0), 0.27 * height, min(right, float(width)), 0.97 * height]


class _Performer:
    """A figure that performs, with everything drawn once per segment."""

    def __init__(
        self, figure: Figure, deed: Performance, take: Take, rng: np.random.Generator
    ) -> None:
        self.figure, self.deed = figure, deed
        self.motion = Motion.draw(deed.verb, take.amplitude, rng)
        self.size = float(rng.uniform(0.92, 1.1))
        shapes = [SHAPES[noun] for noun in deed.nouns]
        self.objects = [
            (shape, shape.colour(take.hue_jitter, rng, brightness=(0.8, 1.05))) for shape in shapes
        ]


class ExoCamera:
    """The room of one video, seen from a corner."""

    def __init__(self, height: int, width: int, people: int, rng: np.random.Generator) -> None:
        self._height, self._width = height, width
        self._background = self._draw_background(rng)
        self._clothes = [Clothes.draw(rng) for _ in range(people)]

    def figures(self, rng: np.random.Generator) -> list[Figure]:
        """Places of the people in a segment: one anywhere, two facing each other."""
        if len(self._clothes) == 1:
            facing = 1 if rng.random() < 0.5 else -1
            x = -0.2 * facing + float(rng.uniform(-0.2, 0.2))
            return [Figure(x, facing, self._clothes[0])]
        return [
            Figure(side * float(rng.uniform(0.4, 0.46)), -side, clothes)
            for side, clothes in zip((-1, 1), self._clothes, strict=True)
        ]

    def _draw_background(self, rng: np.random.Generator) -> np.ndarray:
        """Wall with cupboards or pictures, and floor."""
        height, width = self._height, self._width
        image = np.empty((height, width, 3), np.uint8)
        image[:] = hsv(rng.uniform(0, 180), rng.uniform(5, 45), rng.uniform(150, 235))
        floor = int(height * rng.uniform(0.7, 0.78))
        image[floor:] = hsv(rng.uniform(5, 25), rng.uniform(30, 80), rng.uniform(70, 150))
        for _ in range(5):
            left, top = rng.uniform(0, width), rng.uniform(0, 0.3 * height)
            right, bottom = (
                left + rng.uniform(0.1, 0.3) * height,
                top + rng.uniform(0.1, 0.25) * height,
            )
            colour = hsv(rng.uniform(0, 180), rng.uniform(10, 60), rng.uniform(60, 230))
            cv2.rectangle(image, (int(left), int(top)), (int(right), int(bottom)), colour, -1)
        return image

    def frames(
        self,
        figures: Sequence[Figure],
        performances: Sequence[Performance],
        take: Take,
        rng: np.random.Generator,
    ) -> Iterator[np.ndarray]:
        """Frames (height, width, 3) uint8 BGR of one segment.

        performances: one per figure.
        """
        performers = [
            _Performer(figure, deed, take, rng)
            for figure, deed in zip(figures, performances, strict=True)
        ]
        for frame in range(take.num_frames + take.gap):
            image = self._background.copy()
            for performer in performers:
                time = frame / (take.num_frames - 1)
                if performer.deed.verb in REVERSED:
                    time = 1 - time
                pose = performer.motion.pose(min(max(time, 0.0), 1.0))
                self._draw_person(image, performer.figure, performer.deed.at_sink)
                self._draw_action(image, performer, pose)
            yield image

    def _pixel(self, x: float, y: float) -> tuple[float, float]:
        return self._width / 2 + x * self._height, y * self._height

    def _block(
        self, image: np.ndarray, box: tuple[float, float, float, float], colour: Colour
    ) -> None:
        """A filled rectangle; box: left, top, right, bottom."""
        left, top, right, bottom = box
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        fill(image, np.array([self._pixel(x, y) for x, y in corners]), colour)

    def _draw_person(self, image: np.ndarray, figure: Figure, at_sink: bool) -> None:
        x, height, clothes = figure.x, self._height, figure.clothes
        self._block(image, (x - 0.07, 0.68, x - 0.01, 0.97), clothes.trousers)
        self._block(image, (x + 0.01, 0.68, x + 0.07, 0.97), clothes.trousers)
        self._block(image, (x - 0.085, 0.42, x + 0.085, 0.72), clothes.shirt)
        head = ellipse(*self._pixel(x, 0.345), 0.065 * height, 0.075 * height)
        fill(image, head, clothes.skin)
        far = x + figure.facing * 0.52
        left, right = min(x + figure.facing * 0.02, far), max(x + figure.facing * 0.02, far)
        top: Colour = (215, 215, 210) if at_sink else (60, 85, 120)
        self._block(image, (left, _TABLE, right, _TABLE + 0.05), top)
        self._block(image, (left + 0.03, _TABLE + 0.05, left + 0.06, 0.95), (40, 50, 70))
        self._block(image, (right - 0.06, _TABLE + 0.05, right - 0.03, 0.95), (40, 50, 70))

    def _draw_action(self, image: np.ndarray, performer: _Performer, pose: Pose) -> None:
        """Draw object and arms; closer to the body means towards the figure's chest."""
        figure, height = performer.figure, self._height
        clothes = figure.clothes
        x = figure.x + figure.facing * (0.06 + 0.36 * pose.reach) + 0.12 * pose.lateral
        y = _TABLE - 0.22 + 0.14 * pose.reach - 0.12 * pose.lift
        radius = _RADIUS * performer.size
        lid = LID_LIFT * radius * pose.opening
        shoulder = self._pixel(figure.x + figure.facing * 0.03, 0.47)
        rest = (figure.x + figure.facing * 0.1, 0.68)
        hands = [
            (x - figure.facing * radius, y + 0.3 * radius),
            (
                x - figure.facing * 0.3 * radius,
                y - 0.6 * radius - lid - 2 * radius * pose.hand_lift,
            ),
        ]
        hands = [
            (rest[0] + (hx - rest[0]) * pose.grip, rest[1] + (hy - rest[1]) * pose.grip)
            for hx, hy in hands
        ]
        for index, (shape, colour) in enumerate(performer.objects):
            centre = self._pixel(x + figure.facing * 1.5 * radius * index, y)
            size = radius * height
            draw_object(image, shape, colour, centre, size, 0.0, pose.opening, pose.level)
        for hand in hands:
            limb(image, shoulder, self._pixel(*hand), 0.035 * height, clothes.shirt)
            disc(image, self._pixel(*hand), 0.026 * height, clothes.skin)
