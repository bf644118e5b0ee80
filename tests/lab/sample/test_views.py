"""The cameras: reversed verbs, and what one frame tells."""

import numpy as np
import pytest

from slowfast.lab.sample.ego_view import EgoCamera
from slowfast.lab.sample.exo_view import ExoCamera, Performance
from slowfast.lab.sample.motion import REVERSED, Motion, Take
from slowfast.lab.sample.shapes import SHAPES, hsv
from slowfast.lab.sample.vocabulary import EGO_NOUNS, EGO_VERBS, NOUNS

EXO_FRAMES = 9


def ego_frames(verb: str, noun: str = "cup") -> np.ndarray:
    """(T, H, W, 3) of one action; the room and the episode are the same for all verbs."""
    camera = EgoCamera(48, 56, 0.012, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    return np.stack(list(camera.frames(verb, noun, ("box",), Take(12, 0, 1.0, 4.0), rng)))


def exo_frames(verb: str, noun: str = "cup") -> np.ndarray:
    camera = ExoCamera(48, 56, 1, np.random.default_rng(1))
    deeds = [Performance(verb, (noun,))]
    rng = np.random.default_rng(2)
    figures = camera.figures(rng)
    return np.stack(list(camera.frames(figures, deeds, Take(EXO_FRAMES, 0, 1.0, 4.0), rng)))


@pytest.mark.parametrize("render", [ego_frames, exo_frames])
@pytest.mark.parametrize(("verb", "partner"), REVERSED.items())
def test_a_reversed_verb_shows_the_very_frames_of_its_partner_backwards(render, verb, partner):
    forth, back = render(partner), render(verb)
    np.testing.assert_array_equal(back, forth[::-1])
    assert np.abs(forth[0].astype(int) - forth[-1]).max() > 100, "the partner does not move"


@pytest.mark.parametrize("render", [ego_frames, exo_frames])
def test_verbs_of_different_pairs_differ(render):
    clips = {verb: render(verb) for verb in ("take", "open", "wash", "shake", "fill")}
    for verb, clip in clips.items():
        for other, clip_of_other in clips.items():
            if verb < other:
                assert (clip != clip_of_other).any(axis=(1, 2, 3)).sum() > len(clip) // 2


def test_every_ego_verb_has_a_motion_and_every_noun_a_shape_of_its_own():
    for verb in EGO_VERBS:
        motion = Motion.draw(verb.name, 1.0, np.random.default_rng(0))
        assert len({motion.pose(time) for time in np.linspace(0, 1, 9)}) > 4
    assert {noun.name for noun in NOUNS} == set(SHAPES)
    looks = {noun.name: ego_frames("take", noun.name)[6] for noun in EGO_NOUNS}
    for name, look in looks.items():
        for other, look_of_other in looks.items():
            if name < other:
                assert (look != look_of_other).any(axis=-1).sum() > 40


def test_the_ego_camera_shakes_and_the_exo_camera_stands_still():
    corner = (slice(None), slice(0, 6), slice(0, 6))
    assert np.ptp(ego_frames("take")[corner].astype(int), axis=0).max() > 0
    assert np.ptp(exo_frames("take")[corner].astype(int), axis=0).max() == 0


def test_ego_objects_are_larger_than_exo_objects():
    def cup_pixels(frames: np.ndarray) -> int:
        blue, green, red = frames[len(frames) // 2].astype(int).transpose(2, 0, 1)
        return int(((blue > 140) & (red < 120) & (green < 150)).sum())

    assert cup_pixels(ego_frames("wash")) > 2 * cup_pixels(exo_frames("wash")) > 20


def test_hsv_gives_the_primary_colours_in_bgr():
    assert hsv(0, 255, 255) == (0, 0, 255)
    assert hsv(60, 255, 255) == (0, 255, 0)
    assert hsv(120, 255, 200) == (200, 0, 0)
    assert hsv(180 + 60, 0, 77) == (77, 77, 77)
