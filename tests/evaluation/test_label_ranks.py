"""Ranks of labels and of (verb, noun) pairs, against rankings written out in full."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from slowfast.evaluation.ranking import action_ranks, label_ranks, scorer_action_ranks, top_class


def _case(seed: int, rows: int, num_verbs: int, num_nouns: int) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    return (
        generator.standard_normal((rows, num_verbs)),
        generator.standard_normal((rows, num_nouns)),
        generator.integers(0, num_verbs, rows),
        generator.integers(0, num_nouns, rows),
    )


def _naive_action_rank(verb: np.ndarray, noun: np.ndarray, v: int, n: int) -> int:
    """Position of (v, n) among all pairs sorted by the product of soft-max probabilities."""
    p = np.exp(verb) / np.exp(verb).sum()
    q = np.exp(noun) / np.exp(noun).sum()
    pairs = itertools.product(range(len(p)), range(len(q)))
    ranked = sorted(pairs, key=lambda pair: -p[pair[0]] * q[pair[1]])
    return ranked.index((v, n))


def test_label_ranks_count_the_better_classes() -> None:
    scores, _, labels, _ = _case(0, 40, 13, 2)
    expected = [sum(row > row[label]) for row, label in zip(scores, labels, strict=True)]
    np.testing.assert_array_equal(label_ranks(scores, labels), expected)
    np.testing.assert_array_equal(top_class(scores), scores.argmax(axis=1))


@pytest.mark.parametrize("label", [-1, 13])
def test_a_label_outside_the_classes_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match="13 classes"):
        label_ranks(np.zeros((1, 13)), [label])


@pytest.mark.parametrize("rank", [action_ranks, scorer_action_ranks])
def test_action_ranks_equal_the_full_ranking(rank) -> None:  # type: ignore[no-untyped-def]
    verb, noun, v, n = _case(1, 300, 7, 11)
    expected = [_naive_action_rank(*row) for row in zip(verb, noun, v, n, strict=True)]
    np.testing.assert_array_equal(rank(verb, noun, v, n), expected)


def test_action_ranks_do_not_depend_on_a_shift_per_segment() -> None:
    verb, noun, v, n = _case(2, 50, 7, 11)
    shift = np.random.default_rng(3).uniform(-500, 500, (50, 1))
    np.testing.assert_array_equal(
        action_ranks(verb + shift, noun - shift, v, n), action_ranks(verb, noun, v, n)
    )


def test_one_outlier_collapses_the_whole_array_softmax_only() -> None:
    verb, noun, v, n = _case(4, 50, 7, 11)
    verb, noun = verb.astype(np.float32), noun.astype(np.float32)
    v, n = verb.argmax(axis=1), noun.argmax(axis=1)
    verb[0, v[0]] = 200
    assert (action_ranks(verb, noun, v, n) == 0).all()
    assert (scorer_action_ranks(verb, noun, v, n)[1:] > 0).all()


def test_a_noun_beyond_the_best_hundred_ranks_behind_every_pair() -> None:
    verb, noun = np.zeros((1, 3)), np.arange(150.0)[None, :]
    verb[0, 1] = 1
    assert action_ranks(verb, noun, [1], [49])[0] == 3 * 150
    assert action_ranks(verb, noun, [1], [149])[0] == 0
