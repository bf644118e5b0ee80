"""Six pairs with labels and narrations in common, embeddings for them, and what is related."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from slowfast.models.ego_exo import EgoExoOutput
from slowfast.tasks.build import build_training
from tests.losses.naive import unit_rows
from tests.tasks.test_ego_exo_alignment import paired_batch, tiny_cfg

PAIRS = 6
TAU, SIGMA = 0.06, 0.1
NEGATIVES = ("all", "drop_same_label", "drop_same_text", "multi_positive")
VERBS, NOUNS = [0, 1, 0, 1, -1, -1], [0, 1, 0, 3, 2, 2]
EXO_VERBS = [{0, 1}, {2}, {2, 3}, {1}, set(), {0}]
EXO_NOUNS = [{0}, {1}, {1, 2}, {0, 3}, {3}, {2}]
EGO_TEXT, EXO_TEXT = [0, 0, 2, 3, 4, 5], [0, 1, 2, 3, 3, 5]
# Of the further exo clips.
OTHER_VERBS = [{0}, {2}, {3}, {1, 2}, {0, 1}, set()]
OTHER_NOUNS = [{0, 1}, {1}, {2}, {3}, {5}, {0}]
# Whether the partner by verb (the one by noun) shares the label.
HAS_VERB, HAS_NOUN = [1, 1, 0, 1, 1, 0], [0, 1, 1, 1, 0, 1]
FACTORISED = {"ALIGN__KIND": "factorised", "PAIRS__MINING": "factors"}


def rows(classes, count):
    return torch.tensor([[float(k in chosen) for k in range(count)] for chosen in classes])


def batch():
    pairs = paired_batch(0, pairs=PAIRS)
    pairs.ego.labels = [torch.tensor(VERBS), torch.tensor(NOUNS)]
    pairs.exo.labels = [rows(EXO_VERBS, 4), rows(EXO_NOUNS, 6)]
    for clips, same_as, seed in ((pairs.ego, EGO_TEXT, 3), (pairs.exo, EXO_TEXT, 4)):
        clips.text = normalize(unit_rows(seed, PAIRS).detach() + 0.4, dim=1)[same_as]
    return pairs


def three_clips():
    """`batch` and further exo clips, one with the narration of an ego clip."""
    pairs = batch()
    pairs.other_exo = batch().exo
    pairs.other_exo.labels = [rows(OTHER_VERBS, 4), rows(OTHER_NOUNS, 6)]
    pairs.other_exo.text = normalize(unit_rows(9, PAIRS).detach() + 0.4, dim=1)
    pairs.other_exo.text[4] = pairs.ego.text[2]
    pairs.exo.shares_label = torch.tensor(HAS_VERB, dtype=torch.bool)
    pairs.other_exo.shares_label = torch.tensor(HAS_NOUN, dtype=torch.bool)
    return pairs


def output(z_ego, z_exo):
    """Of a batch without further exo clips."""
    ego = [torch.zeros(len(z_ego), k) for k in (5, 7)]
    return EgoExoOutput(ego, [torch.zeros(len(z_exo), k) for k in (4, 6)], z_ego, z_exo)


def output_of_three(**parts):
    logits = [[unit_rows(seed + k, PAIRS, k).detach() for k in (4, 6)] for seed in (20, 40)]
    ego = [torch.zeros(PAIRS, k) for k in (5, 7)]
    z_ego, z_exo, z_other = (unit_rows(seed, PAIRS) for seed in (1, 2, 3))
    return EgoExoOutput(
        ego, logits[0], z_ego, z_exo, other_logits=logits[1], z_other=z_other, **parts
    )


def step(model_output=None, pairs=None, **suml):
    """Losses and counts of fixed embeddings; keyword arguments are keys below SUML."""
    if model_output is None:
        model_output = output(unit_rows(1, PAIRS), unit_rows(2, PAIRS))
    _, task = build_training(tiny_cfg(**({"ALIGN__THRESHOLD": 0.0} | suml)))
    return task.losses(model_output, pairs or batch(), 0, 0)


def step_of_three(model_output, **suml):
    return step(model_output, three_clips(), **suml)


def same_ego_label(i, j):
    return VERBS[i] == VERBS[j] >= 0 and NOUNS[i] == NOUNS[j] >= 0


def same_exo_label(i, j):
    return bool(EXO_VERBS[i] & EXO_VERBS[j]) and bool(EXO_NOUNS[i] & EXO_NOUNS[j])


def same_ego_text(i, j):
    return EGO_TEXT[i] == EGO_TEXT[j]


def same_exo_text(i, j):
    return EXO_TEXT[i] == EXO_TEXT[j]


def same_text_of_either(i, j):
    return same_ego_text(i, j) or same_exo_text(i, j)


def none(i, j):
    return False


# By SUML.NEGATIVES: of ego clips, of exo clips, of pairs.
RELATIONS = {
    "all": (none, none, none),
    "drop_same_label": (same_ego_label, same_exo_label, same_ego_label),
    "drop_same_text": (same_ego_text, same_exo_text, same_text_of_either),
    "multi_positive": (same_ego_label, same_exo_label, same_ego_label),
}
