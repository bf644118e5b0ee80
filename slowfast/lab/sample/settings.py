"""The settings of the sample and their presets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from slowfast.lab.sample.vocabulary import EGO_NOUNS, EGO_VERBS
from slowfast.utils.errors import UserError


@dataclass(frozen=True)
class SampleSettings:
    """Settings of the rendering. Equal settings give equal bytes.

    seed: of all random content.
    num_verbs, num_nouns: ego classes, the first ones of `vocabulary.VERBS` and `NOUNS`.
    held_out_share: share of the verb-noun combinations without any ego training segment; every
        one of them is in the exo training set.
    train_segments, validation_segments: ego.
    exo_train_segments, exo_validation_segments: exo; idle ones are added to these.
    unseen_share: share of the ego validation segments that show held-out combinations.
    segments_per_video: both views.
    height, width: pixels of the frames.
    jpeg_quality: 1..100.
    ego_frames, exo_frames: shortest and longest segment, in frames.
    short_share: share of the segments that have only a half to four fifths of the shortest
        length.
    exo_only_share: share of the exo segments with a verb or a noun that has no ego class.
    two_people_share, two_objects_share, idle_share: shares of the exo segments.
    ego_motion, exo_motion: amplitude of the motions; 1 is easy.
    shake: amplitude of the ego camera's shake, share of the frame height.
    distractors: other objects in an ego frame.
    hue_jitter: largest shift of an object's hue, 0..90.
    """

    seed: int = 0
    num_verbs: int = 6
    num_nouns: int = 8
    held_out_share: float = 0.25
    train_segments: int = 400
    validation_segments: int = 144
    exo_train_segments: int = 480
    exo_validation_segments: int = 60
    unseen_share: float = 0.2
    segments_per_video: int = 25
    height: int = 72
    width: int = 84
    jpeg_quality: int = 90
    ego_frames: tuple[int, int] = (18, 26)
    exo_frames: tuple[int, int] = (16, 22)
    short_share: float = 0.05
    exo_only_share: float = 0.16
    two_people_share: float = 0.25
    two_objects_share: float = 0.12
    idle_share: float = 0.06
    ego_motion: float = 1.0
    exo_motion: float = 1.0
    shake: float = 0.012
    distractors: int = 1
    hue_jitter: float = 4.0

    def __post_init__(self) -> None:
        for name, most in (("num_verbs", len(EGO_VERBS)), ("num_nouns", len(EGO_NOUNS))):
            if not 2 <= getattr(self, name) <= most:
                raise UserError(f"sample setting {name}={getattr(self, name)}: use 2 to {most}")
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name.endswith("_share") and not 0 <= value < 1:
                raise UserError(f"sample setting {item.name}={value}: use 0 or more, below 1")
            if item.name.endswith("segments") and value < 1:
                raise UserError(f"sample setting {item.name}={value}: use 1 or more")
        for name in ("ego_frames", "exo_frames"):
            low, high = getattr(self, name)
            if not 4 <= low <= high:
                raise UserError(
                    f"sample setting {name}={low},{high}: use shortest,longest with 4 <= shortest"
                )


DEMO = SampleSettings()
PRESETS = {
    "demo": DEMO,
    # Harder, and with enough test clips for a standard error of two points.
    "ablation": replace(
        DEMO,
        num_verbs=8,
        train_segments=384,
        validation_segments=640,
        exo_train_segments=640,
        unseen_share=0.4,
        ego_motion=0.7,
        shake=0.02,
        distractors=2,
        hue_jitter=20.0,
    ),
}


def with_overrides(settings: SampleSettings, knobs: Sequence[str]) -> SampleSettings:
    """Copy with some settings changed, given as `name=value` (`18,26` for a range)."""
    current = {item.name: getattr(settings, item.name) for item in fields(settings)}
    changed: dict[str, Any] = {}
    for knob in knobs:
        name, _, text = knob.partition("=")
        if name not in current:
            raise UserError(f"no sample setting {name!r}; choose from {', '.join(current)}")
        try:
            changed[name] = _parse(text, current[name])
        except ValueError:
            raise UserError(
                f"sample setting {knob!r}: use a value like {name}={_show(current[name])}"
            ) from None
    return replace(settings, **changed)


def _parse(text: str, current: object) -> Any:
    if isinstance(current, tuple):
        low, high = text.split(",")
        return int(low), int(high)
    return float(text) if isinstance(current, float) else int(text)


def _show(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
