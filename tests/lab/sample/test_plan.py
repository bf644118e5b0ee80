"""Splits, held-out combinations and words."""

from collections import Counter
from dataclasses import replace

import pytest

from slowfast.lab.sample.plan import combinations, ego_segments, exo_segments
from slowfast.lab.sample.settings import PRESETS, SampleSettings, with_overrides
from slowfast.lab.sample.vocabulary import NOUNS, VERBS
from slowfast.utils.errors import UserError


def exo_pairs(settings: SampleSettings, split: str) -> list[tuple[str, str]]:
    return [
        (deed.verb.name, noun.name)
        for video in exo_segments(settings, split)
        for segment in video
        for deed in segment.deeds
        if deed.verb
        for noun in deed.nouns
    ]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_quarter_of_the_combinations_is_left_to_exo(preset):
    settings = PRESETS[preset]
    seen, held_out = combinations(settings)
    total = settings.num_verbs * settings.num_nouns
    assert len(seen) + len(held_out) == total
    assert len(held_out) >= total / 4
    trained = {segment.combination for segment in ego_segments(settings, "train")}
    assert trained == set(seen)
    exo = set(exo_pairs(settings, "train"))
    assert {(item.verb.name, item.noun.name) for item in held_out} <= exo
    tested = Counter(s.combination in held_out for s in ego_segments(settings, "validation"))
    assert tested[True] == round(settings.validation_segments * settings.unseen_share)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_ego_classes_are_about_equally_frequent(preset, split):
    segments = ego_segments(PRESETS[preset], split)
    for part in ("verb", "noun"):
        counts = Counter(getattr(s.combination, part).name for s in segments)
        assert max(counts.values()) < 1.35 * min(counts.values())


def test_the_views_have_words_that_the_other_lacks():
    for words in (VERBS, NOUNS):
        shown = [word for word in words if word.ego or word.exo]
        assert any(word.ego and not word.exo for word in shown)
        assert any(word.exo and not word.ego for word in shown)
        assert any(word.in_both and word.exo not in word.ego[:1] for word in shown)


def test_some_exo_segments_match_an_ego_class_in_verb_or_noun_only():
    verbs, nouns = ({word.name: word for word in words} for words in (VERBS, NOUNS))
    kinds = Counter(
        (bool(verbs[verb].ego), bool(nouns[noun].ego))
        for verb, noun in exo_pairs(PRESETS["demo"], "train")
    )
    assert min(kinds[True, True], kinds[True, False], kinds[False, True]) > 10


def test_the_plan_depends_on_the_seed_alone(settings):
    assert ego_segments(settings, "train") == ego_segments(settings, "train")
    other = ego_segments(replace(settings, seed=1), "train")
    assert ego_segments(settings, "train") != other


def test_more_exo_data_leaves_the_ego_half_alone(settings):
    more = replace(settings, exo_train_segments=90)
    assert ego_segments(more, "train") == ego_segments(settings, "train")


def test_knobs_are_read_from_text(settings):
    changed = with_overrides(settings, ["seed=7", "ego_motion=0.5", "ego_frames=9,12"])
    assert changed == replace(settings, seed=7, ego_motion=0.5, ego_frames=(9, 12))


@pytest.mark.parametrize(
    ("knob", "named"),
    [
        ("speed=1", "held_out_share"),
        ("seed=fast", "seed=0"),
        ("ego_frames=9", "ego_frames=6,8"),
        ("ego_frames=9,5", "ego_frames=9,5"),
        ("num_verbs=40", "2 to 8"),
        ("held_out_share=1.5", "below 1"),
        ("train_segments=0", "1 or more"),
    ],
)
def test_a_wrong_knob_is_one_line_with_the_mend(settings, knob, named):
    with pytest.raises(UserError) as caught:
        with_overrides(settings, [knob])
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
