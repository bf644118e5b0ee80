"""Appearance of a noun: body, lid and hue, drawn at any size.

Outlines are (n, 2) float64 points x, y in units of the object's radius, y downwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

Colour = tuple[int, int, int]
Points = np.ndarray
# How far a lid is lifted, in radii of its object.
LID_LIFT = 2.2
_SHIFT = 4  # cv2 draws with 1/16 pixel


def ellipse(
    x: float, y: float, rx: float, ry: float, start: float = 0.0, stop: float = 1.0
) -> Points:
    """Points on an ellipse from `start` to `stop`, in turns (0 right, 0.25 bottom)."""
    angles = np.linspace(start, stop, 14) * 2 * np.pi
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def _polygon(*points: tuple[float, float]) -> Points:
    return np.array(points, dtype=np.float64)


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return _polygon((left, top), (right, top), (right, bottom), (left, bottom))


@dataclass(frozen=True)
class Shape:
    """body: outlines of the lower part; lid: outline of the part that opens, resting on y = brim.

    hue, saturation, value: as OpenCV has them (hue 0..179).
    """

    body: tuple[Points, ...]
    lid: Points
    brim: float
    hue: float
    saturation: float = 210.0
    value: float = 200.0

    def colour(
        self,
        hue_jitter: float,
        rng: np.random.Generator,
        brightness: tuple[float, float] = (0.85, 1.1),
    ) -> Colour:
        """Colour of one object of this shape. brightness: range of factors."""
        return hsv(
            self.hue + hue_jitter * rng.uniform(-1, 1),
            self.saturation * rng.uniform(0.85, 1.1),
            self.value * rng.uniform(*brightness),
        )


SHAPES = {
    "bottle": Shape(
        (
            _polygon(
                (-0.3, -0.5), (0.3, -0.5), (0.52, -0.1), (0.52, 1.0), (-0.52, 1.0), (-0.52, -0.1)
            ),
        ),
        _box(-0.34, -1.05, 0.34, -0.5),
        -0.5,
        hue=60,
    ),
    "box": Shape(
        (_box(-0.85, -0.3, 0.85, 0.85),),
        _box(-0.98, -0.72, 0.98, -0.3),
        -0.3,
        hue=12,
        value=160,
    ),
    "bag": Shape(
        (_polygon((-0.5, -0.35), (0.5, -0.35), (1.0, 0.95), (-1.0, 0.95)),),
        _polygon((-0.5, -0.35), (-0.72, -0.95), (0.0, -0.7), (0.72, -0.95), (0.5, -0.35)),
        -0.35,
        hue=150,
    ),
    "cup": Shape(
        (
            _polygon((-0.75, -0.35), (0.75, -0.35), (0.5, 0.85), (-0.5, 0.85)),
            ellipse(0.8, 0.15, 0.35, 0.35),
        ),
        ellipse(0.0, -0.35, 0.8, 0.55, 0.5, 1.0),
        -0.35,
        hue=114,
        value=220,
    ),
    "jar": Shape(
        (
            _polygon(
                (-0.5, -0.35),
                (0.5, -0.35),
                (0.8, 0.0),
                (0.8, 0.7),
                (0.55, 0.95),
                (-0.55, 0.95),
                (-0.8, 0.7),
                (-0.8, 0.0),
            ),
        ),
        _box(-0.55, -0.85, 0.55, -0.35),
        -0.35,
        hue=28,
        value=230,
    ),
    "kettle": Shape(
        (
            ellipse(0.0, 0.2, 0.82, 0.75),
            _polygon((0.5, 0.1), (1.25, -0.55), (1.3, -0.3), (0.6, 0.5)),
        ),
        ellipse(0.0, -0.4, 0.6, 0.55, 0.5, 1.0),
        -0.4,
        hue=90,
    ),
    "pot": Shape(
        (_box(-1.0, -0.2, 1.0, 0.75), _box(-1.35, -0.1, 1.35, 0.12)),
        ellipse(0.0, -0.2, 1.0, 0.6, 0.5, 1.0),
        -0.2,
        hue=176,
        value=210,
    ),
    "can": Shape(
        (_box(-0.62, -0.5, 0.62, 0.95),),
        ellipse(0.0, -0.68, 0.66, 0.24),
        -0.5,
        hue=100,
        saturation=15,
        value=225,
    ),
    "bowl": Shape(
        (ellipse(0.0, -0.15, 1.0, 0.9, 0.0, 0.5),),
        ellipse(0.0, -0.15, 1.0, 0.3, 0.5, 1.0),
        -0.15,
        hue=134,
    ),
    "watermelon": Shape(
        (ellipse(0.0, 0.0, 1.0, 0.8, 0.0, 0.5),),
        ellipse(0.0, 0.0, 1.0, 0.8, 0.5, 1.0),
        0.0,
        hue=44,
        value=130,
    ),
}


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """A BGR colour; hue 0..180 (wraps), saturation and value 0..255 (clamped)."""
    sector, share = divmod(hue % 180 / 30.0, 1.0)
    value = min(max(value, 0.0), 255.0)
    low = value * (1 - min(max(saturation, 0.0), 255.0) / 255)
    down, up = value - (value - low) * share, low + (value - low) * share
    red, green, blue = (
        (value, up, low), (down, value, low), (low, value, up),
        (low, down, value), (up, low, value), (value, low, down),
    )[int(sector)]  # fmt: skip
    return round(blue), round(green), round(red)


def skin_colour(rng: np.random.Generator) -> Colour:
    return hsv(rng.uniform(6, 13), rng.uniform(70, 120), rng.uniform(130, 235))


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, darker (factor < 1) or lighter."""
    blue, green, red = (min(round(channel * factor), 255) for channel in colour)
    return blue, green, red


def fill(canvas: np.ndarray, points: Points, colour: Colour) -> None:
    """Fill an outline, given in pixels, with smooth edges."""
    fixed = np.rint(points * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], colour, cv2.LINE_AA, _SHIFT)


def disc(canvas: np.ndarray, centre: tuple[float, float], radius: float, colour: Colour) -> None:
    """A filled circle, in pixels."""
    fill(canvas, ellipse(*centre, radius, radius), colour)


def limb(
    canvas: np.ndarray,
    start: tuple[float, float],
    stop: tuple[float, float],
    width: float,
    colour: Colour,
) -> None:
    """A thick line between two points, all in pixels."""
    along = np.subtract(stop, start)
    length = max(float(np.hypot(*along)), 1e-6)
    side = np.array([-along[1], along[0]]) * (width / 2 / length)
    fill(canvas, np.stack([start + side, stop + side, stop - side, start - side]), colour)


def draw_object(
    canvas: np.ndarray,
    shape: Shape,
    colour: Colour,
    centre: tuple[float, float],
    radius: float,
    tilt: float = 0.0,
    opening: float = 0.0,
    level: float | None = None,
) -> None:
    """Draw an object on the canvas.

    centre, radius: pixels. tilt: radians. opening: 0..1, lifts the lid and shows the
    inside. level: 0..1, height of the content in a window of the body; None: no window.
    """
    cosine, sine = math.cos(tilt) * radius, math.sin(tilt) * radius
    turn = np.array([[cosine, sine], [-sine, cosine]])

    def place(points: Points) -> Points:
        return points @ turn + centre

    edge = shade(colour, 0.45)
    if opening > 0:
        width = float(shape.lid[:, 0].max()) * 0.9
        fill(canvas, place(ellipse(0.0, shape.brim, width, 0.3)), (30, 25, 25))
    for outline in shape.body:
        fill(canvas, place(outline), edge)
        middle = outline.mean(axis=0)
        fill(canvas, place(middle + (outline - middle) * 0.86), colour)
    if level is not None:
        fill(canvas, place(_box(-0.42, -0.2, 0.42, 0.75)), (35, 30, 30))
        fill(canvas, place(_box(-0.42, 0.75 - 0.95 * level, 0.42, 0.75)), (245, 235, 225))
    lid = shape.lid + np.array([0.0, -LID_LIFT * opening])
    fill(canvas, place(lid), edge)
    middle = lid.mean(axis=0)
    fill(canvas, place(middle + (lid - middle) * 0.8), shade(colour, 0.75))
