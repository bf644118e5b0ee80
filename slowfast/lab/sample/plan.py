"""Plan of the videos: verb-noun combinations, held-out ones, segments, splits.

Everything here is a pure function of the settings.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slowfast.lab.sample.exo_view import Performance
from slowfast.lab.sample.settings import SampleSettings
from slowfast.lab.sample.vocabulary import EGO_NOUNS, EGO_VERBS, NOUNS, VERBS, Word, exo_phrase


class Stream(enum.IntEnum):
    """Independent sources of randomness."""

    HELD_OUT = 0
    EGO_TRAIN = 1
    EGO_VALIDATION = 2
    EXO_TRAIN = 3
    EXO_VALIDATION = 4
    EGO_TRAIN_FRAMES = 5
    EGO_VALIDATION_FRAMES = 6
    EGO_TRAIN_ROOMS = 7
    EGO_VALIDATION_ROOMS = 8
    EXO_FRAMES = 9
    EXO_ROOMS = 10


@dataclass(frozen=True)
class Combination:
    """A verb done to a noun."""

    verb: Word
    noun: Word


@dataclass(frozen=True)
class EgoSegment:
    """verb_word, noun_word: as the narration has them. neighbour: noun that it mentions too."""

    combination: Combination
    verb_word: str
    noun_word: str
    neighbour: Word | None
    distractors: tuple[str, ...]
    num_frames: int

    @property
    def narration(self) -> str:
        text = f"{self.verb_word.replace('-', ' ')} {self.noun_word}"
        return f"{text} near {self.neighbour.ego[0]}" if self.neighbour else text


@dataclass(frozen=True)
class ExoDeed:
    """Action of one person. verb None: none."""

    verb: Word | None
    nouns: tuple[Word, ...] = ()
    with_place: bool = False

    @property
    def phrase(self) -> str:
        """Hand-object interaction, in the grammar of the exo set."""
        assert self.verb is not None
        return exo_phrase(self.verb, self.nouns, self.with_place)

    @property
    def place(self) -> str:
        """Noun of the place that the phrase names; empty: none."""
        return self.verb.place.split("@")[-1] if self.verb and self.with_place else ""

    @property
    def performance(self) -> Performance:
        verb = self.verb.name if self.verb else "idle"
        return Performance(verb, tuple(noun.name for noun in self.nouns), self.place == "sink")


@dataclass(frozen=True)
class ExoSegment:
    """deeds: one per person of the video."""

    deeds: tuple[ExoDeed, ...]
    num_frames: int


def generator(settings: SampleSettings, stream: Stream, index: int = 0) -> np.random.Generator:
    """The generator of one part, independent of all others."""
    return np.random.Generator(np.random.PCG64([settings.seed, int(stream), index]))


def ego_words(settings: SampleSettings) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Verbs and nouns with an ego class, in the order of the class ids."""
    return EGO_VERBS[: settings.num_verbs], EGO_NOUNS[: settings.num_nouns]


def exo_words(settings: SampleSettings) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Verbs and nouns that the exo set shows, with and without an ego class."""
    verbs, nouns = ego_words(settings)
    return (
        tuple(word for word in VERBS if word.exo and (word in verbs or not word.ego)),
        tuple(word for word in NOUNS if word.exo and (word in nouns or not word.ego)),
    )


class _WordCounts:
    """Frequency of each verb and noun."""

    def __init__(self, items: Sequence[Combination] = ()) -> None:
        self._verbs = Counter(item.verb.name for item in items)
        self._nouns = Counter(item.noun.name for item in items)

    def add(self, item: Combination) -> None:
        self._verbs[item.verb.name] += 1
        self._nouns[item.noun.name] += 1

    def of(self, item: Combination) -> tuple[int, int]:
        return self._verbs[item.verb.name], self._nouns[item.noun.name]


def draw_balanced(
    combinations: Sequence[Combination],
    count: int,
    rng: np.random.Generator,
    existing: Sequence[Combination] = (),
) -> list[Combination]:
    """`count` combinations, all verbs, all nouns and all combinations as equal as possible.

    existing: combinations that count as used already.
    """
    words = _WordCounts(existing)
    uses = [0] * len(combinations)
    drawn = []
    for _ in range(count):
        tie = rng.permutation(len(combinations))
        index = min(
            range(len(combinations)),
            key=lambda i: (sum(words.of(combinations[i])), uses[i], tie[i]),
        )
        uses[index] += 1
        words.add(combinations[index])
        drawn.append(combinations[index])
    return [drawn[i] for i in rng.permutation(count)]


def combinations(settings: SampleSettings) -> tuple[list[Combination], list[Combination]]:
    """All ego combinations, (seen in ego training, held out); the latter are only in exo videos."""
    verbs, nouns = ego_words(settings)
    every = [Combination(verb, noun) for verb in verbs for noun in nouns]
    shared = [item for item in every if item.verb.in_both and item.noun.in_both]
    count = -(-len(every) * round(settings.held_out_share * 1000) // 1000)
    rng = generator(settings, Stream.HELD_OUT)
    held_out = set(_draw_without_return(shared, count, rng))
    return [item for item in every if item not in held_out], [
        item for item in every if item in held_out
    ]


def _draw_without_return(
    items: list[Combination], count: int, rng: np.random.Generator
) -> list[Combination]:
    """Balanced draw in which each combination occurs at most once."""
    left, drawn, words = list(items), [], _WordCounts()
    for _ in range(min(count, len(items))):
        tie = rng.permutation(len(left))
        counts = [words.of(item) for item in left]
        index = min(range(len(left)), key=lambda i: (max(counts[i]), sum(counts[i]), tie[i]))
        drawn.append(left.pop(index))
        words.add(drawn[-1])
    return drawn


def _draw_length(bounds: tuple[int, int], short_share: float, rng: np.random.Generator) -> int:
    low, high = bounds
    if rng.random() < short_share:
        return int(rng.integers(max(low // 2, 2), max(4 * low // 5, 3)))
    return int(rng.integers(low, high + 1))


def _choose(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def ego_segments(settings: SampleSettings, split: str) -> list[EgoSegment]:
    """Segments of `train` or `validation`, in the order of their videos."""
    seen, held_out = combinations(settings)
    if split == "train":
        rng = generator(settings, Stream.EGO_TRAIN)
        drawn = draw_balanced(seen, settings.train_segments, rng)
    else:
        rng = generator(settings, Stream.EGO_VALIDATION)
        unseen = round(settings.validation_segments * settings.unseen_share) if held_out else 0
        drawn = draw_balanced(held_out, unseen, rng)
        drawn += draw_balanced(seen, settings.validation_segments - unseen, rng, drawn)
        drawn = [drawn[i] for i in rng.permutation(len(drawn))]
    nouns = ego_words(settings)[1]
    return [_ego_segment(item, nouns, settings, rng) for item in drawn]


def _ego_segment(
    item: Combination, nouns: tuple[Word, ...], settings: SampleSettings, rng: np.random.Generator
) -> EgoSegment:
    others = [noun for noun in nouns if noun is not item.noun]
    around = [others[i] for i in rng.permutation(len(others))[: settings.distractors]]
    mentions = bool(around) and rng.random() < 0.08
    return EgoSegment(
        combination=item,
        verb_word=_choose(item.verb.ego, rng),
        noun_word=_choose(item.noun.ego, rng),
        neighbour=around[0] if mentions else None,
        distractors=tuple(noun.name for noun in around),
        num_frames=_draw_length(settings.ego_frames, settings.short_share, rng),
    )


def exo_segments(settings: SampleSettings, split: str) -> list[list[ExoSegment]]:
    """Segments of `train` or `validation` by video; all segments of a video show as many people."""
    train = split == "train"
    rng = generator(settings, Stream.EXO_TRAIN if train else Stream.EXO_VALIDATION)
    count = settings.exo_train_segments if train else settings.exo_validation_segments
    actions = _exo_actions(settings, count, rng)
    pairs = round(count * settings.two_people_share)
    videos = []
    for people, drawn in ((1, actions[pairs:]), (2, actions[:pairs])):
        segments = [_exo_segment(item, people, settings, rng) for item in drawn]
        for _ in range(round(len(drawn) * settings.idle_share)):
            idle = ExoSegment((ExoDeed(None),) * people, settings.exo_frames[0])
            segments.insert(int(rng.integers(len(segments) + 1)), idle)
        size = settings.segments_per_video
        videos += [segments[i : i + size] for i in range(0, len(segments), size)]
    return videos


def _exo_actions(
    settings: SampleSettings, count: int, rng: np.random.Generator
) -> list[Combination]:
    """Held-out combinations all occur; some verbs or nouns have no ego class."""
    verbs, nouns = exo_words(settings)
    held_out = combinations(settings)[1]
    shared = [Combination(v, n) for v in verbs for n in nouns if v.in_both and n.in_both]
    own = [Combination(v, n) for v in verbs for n in nouns if v.in_both != n.in_both]
    own_count = round(count * settings.exo_only_share)
    drawn = draw_balanced(shared, max(count - own_count, 0), rng)
    drawn += draw_balanced(own, own_count, rng)
    missing = [item for item in held_out if item not in drawn]
    drawn = missing + drawn[len(missing) :]
    return [drawn[i] for i in rng.permutation(len(drawn))]


def _exo_segment(
    item: Combination, people: int, settings: SampleSettings, rng: np.random.Generator
) -> ExoSegment:
    verbs, nouns = exo_words(settings)
    deeds = [_exo_deed(item, nouns, settings, rng)]
    if people == 2:
        deeds.append(ExoDeed(None))
        if rng.random() < 0.75:
            verb, noun = (
                words[int(rng.integers(len(words)))]
                for words in ([w for w in verbs if w.in_both], [w for w in nouns if w.in_both])
            )
            deeds[1] = _exo_deed(Combination(verb, noun), nouns, settings, rng)
    length = _draw_length(settings.exo_frames, settings.short_share, rng)
    return ExoSegment(tuple(deeds), length)


def _exo_deed(
    item: Combination, nouns: tuple[Word, ...], settings: SampleSettings, rng: np.random.Generator
) -> ExoDeed:
    objects = [item.noun]
    if rng.random() < settings.two_objects_share:
        others = [noun for noun in nouns if noun is not item.noun]
        objects.append(others[int(rng.integers(len(others)))])
    with_place = bool(item.verb.place) and rng.random() < 0.3
    return ExoDeed(item.verb, tuple(objects), with_place)
