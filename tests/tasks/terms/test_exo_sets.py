"""SUML.NEGATIVES by label with several exo sets: clips are compared by ego classes too."""

import pytest
import torch

from slowfast.tasks.terms.clips import meanings_of_pairs
from slowfast.tasks.terms.exo_queue import ExoQueue
from slowfast.tasks.terms.peers import Peers
from tests.losses.naive import naive_dcl, unit_rows
from tests.tasks.terms.tiny_pairs import (
    FACTORISED,
    NOUNS,
    OTHER_NOUNS,
    OTHER_VERBS,
    PAIRS,
    TAU,
    VERBS,
    output,
    output_of_three,
    rows,
    same_ego_label,
    same_exo_label,
    step,
    step_of_three,
    three_clips,
)

# Ego classes of the exo clips: none of a set that the label map does not know.
CLASS_VERBS = [{1}, {0, 4}, set(), {1, 0}, {2}, {4}]
CLASS_NOUNS = [{1, 3}, {6}, set(), {1}, {5}, {6}]
OTHER_CLASS_VERBS = [{0}, {4}, {1}, set(), {0, 1}, {2}]
OTHER_CLASS_NOUNS = [{0, 6}, {6}, {3}, set(), {1}, {5}]
BY_LABEL = ("drop_same_label", "multi_positive")


def share(i, j, verbs, nouns, other_verbs, other_nouns):
    return bool(verbs[i] & other_verbs[j]) and bool(nouns[i] & other_nouns[j])


def exo_share(i, j):
    return share(i, j, CLASS_VERBS, CLASS_NOUNS, CLASS_VERBS, CLASS_NOUNS)


def exo_has_label_of(i, j):
    """Whether exo clip j has the label of ego clip i."""
    return VERBS[i] in CLASS_VERBS[j] and NOUNS[i] in CLASS_NOUNS[j]


def pairs_agree(i, j):
    return same_ego_label(i, j) or exo_has_label_of(i, j) or exo_has_label_of(j, i)


def clips_of_sets(further=False):
    pairs = three_clips()
    pairs.exo.ego_classes = [rows(CLASS_VERBS, 5), rows(CLASS_NOUNS, 7)]
    pairs.other_exo.ego_classes = [rows(OTHER_CLASS_VERBS, 5), rows(OTHER_CLASS_NOUNS, 7)]
    if not further:
        pairs.other_exo = None
    return pairs


@pytest.mark.parametrize("negatives", BY_LABEL)
def test_both_terms_equal_the_double_loops(negatives):
    z_ego, z_exo, pairs = unit_rows(1, PAIRS), unit_rows(2, PAIRS), clips_of_sets()
    keys = {"NEGATIVES": negatives, "ALIGN__THRESHOLD": -1.0}
    found = step(output(z_ego, z_exo), pairs, **keys).losses
    join = negatives == "multi_positive"

    def exo_agree(i, j):
        return same_exo_label(i, j) or exo_share(i, j)

    d = pairs.exo.text
    wanted = naive_dcl(z_exo, d, TAU, None, exo_agree, join)
    wanted = wanted + naive_dcl(d, z_exo, TAU, None, exo_agree, join)
    assert found["exo_text"].item() == pytest.approx(wanted.item(), rel=1e-10)
    wanted = naive_dcl(z_ego, z_exo, TAU, None, pairs_agree, join)
    wanted = wanted + naive_dcl(z_exo, z_ego, TAU, None, pairs_agree, join)
    assert found["align"].item() == pytest.approx(wanted.item(), rel=1e-10)
    alone = step(output(z_ego, z_exo), **keys).losses
    assert found["ego_text"] == alone["ego_text"]
    assert all(found[name] != alone[name] for name in ("exo_text", "align"))


def test_further_clips_equal_the_double_loop():
    made, pairs = output_of_three(), clips_of_sets(further=True)
    keys = {"EXO_STREAM": True, "NEGATIVES": "drop_same_label", "ALIGN__THRESHOLD": -1.0}
    found = step(made, pairs, **keys).losses
    verbs, nouns = pairs.exo.labels

    def further(i):
        for j in range(PAIRS):
            own = any(verbs[i][k] for k in OTHER_VERBS[j]) and any(
                nouns[i][k] for k in OTHER_NOUNS[j]
            )
            other = (OTHER_CLASS_VERBS, OTHER_CLASS_NOUNS)
            as_ego = share(i, j, CLASS_VERBS, CLASS_NOUNS, *other)
            of_ego = VERBS[i] in other[0][j] and NOUNS[i] in other[1][j]
            if not (own or as_ego or of_ego):
                yield made.z_other[j]

    wanted = naive_dcl(made.z_ego, made.z_exo, TAU, None, pairs_agree, extra=further)
    wanted = wanted + naive_dcl(made.z_exo, made.z_ego, TAU, None, pairs_agree, extra=further)
    assert found["align"].item() == pytest.approx(wanted.item(), rel=1e-10)
    assert found["align"] != step_of_three(made, **keys).losses["align"]


def test_factors_equal_the_double_loops():
    """Each compares its label alone, that of the ego clips with that of their partners."""
    factors, pairs = [unit_rows(seed, PAIRS) for seed in (5, 6, 7, 8)], clips_of_sets(further=True)
    pairs.exo.shares_label = pairs.other_exo.shares_label = torch.ones(PAIRS, dtype=torch.bool)
    made = output_of_three(factors=factors)
    found = step(made, pairs, NEGATIVES="drop_same_label", **FACTORISED).losses["align"]
    wanted = 0
    for z_ego, z_exo, labels, classes in (
        (factors[0], factors[2], VERBS, CLASS_VERBS),
        (factors[1], factors[3], NOUNS, OTHER_CLASS_NOUNS),
    ):

        def related(i, j, labels=labels, classes=classes):
            of_ego = labels[i] == labels[j] >= 0
            return of_ego or labels[i] in classes[j] or labels[j] in classes[i]

        wanted = wanted + 0.5 * naive_dcl(z_ego, z_exo, TAU, None, related)
        wanted = wanted + 0.5 * naive_dcl(z_exo, z_ego, TAU, None, related)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-10)


def test_pairs_of_the_queue_are_compared_as_those_of_the_batch():
    pairs = clips_of_sets()
    queue = ExoQueue(PAIRS, 0.9)
    queue.remember((0, 0), unit_rows(2, PAIRS), torch.ones(PAIRS), pairs)
    queue.finish_step(None, torch.tensor(True))
    texts = [pairs.ego.text, pairs.exo.text]
    mine, theirs = meanings_of_pairs(pairs.ego.labels, pairs.exo.ego_classes, texts)
    peers = Peers(False, "drop_same_label")
    found = peers.same(mine, queue.meaning(pairs), gather=False)
    assert torch.equal(found, peers.same(mine, theirs, gather=False))
    wanted = [[pairs_agree(i, j) for j in range(PAIRS)] for i in range(PAIRS)]
    assert found.tolist() == wanted
