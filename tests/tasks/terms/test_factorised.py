"""SUML.ALIGN.KIND factorised: L_a by verb and by noun."""

import pytest
import torch

from slowfast.models.ego_exo import FACTORS
from slowfast.tasks.build import build_training
from tests.losses.naive import naive_alignment, unit_rows
from tests.tasks.terms.tiny_pairs import (
    FACTORISED,
    HAS_NOUN,
    HAS_VERB,
    NEGATIVES,
    NOUNS,
    PAIRS,
    TAU,
    VERBS,
    output_of_three,
    step_of_three,
    three_clips,
)
from tests.tasks.test_ego_exo_alignment import tiny_cfg


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_factorised_alignment_equals_the_double_loops(negatives):
    factors = [unit_rows(seed, PAIRS) for seed in (5, 6, 7, 8)]
    clips = three_clips()
    found = step_of_three(output_of_three(factors=factors), NEGATIVES=negatives, **FACTORISED)
    wanted = 0
    for z_ego, z_exo, exo, kept, labels in (
        (factors[0], factors[2], clips.exo, HAS_VERB, VERBS),
        (factors[1], factors[3], clips.other_exo, HAS_NOUN, NOUNS),
    ):

        def related(i, j, labels=labels, exo=exo):
            if negatives == "all":
                return False
            if negatives == "drop_same_text":
                return any(float(d[i] @ d[j]) > 1 - 1e-6 for d in (clips.ego.text, exo.text))
            return labels[i] == labels[j] >= 0

        # Of "narrations" that are equal where the partner has the label, and opposite elsewhere.
        first = torch.eye(1, 8, dtype=torch.float64).repeat(PAIRS, 1)
        second = first * (2 * torch.tensor(kept, dtype=torch.float64)[:, None] - 1)
        join = negatives == "multi_positive"
        wanted = wanted + 0.5 * naive_alignment(
            z_ego, z_exo, first, second, TAU, 0.0, None, related, join
        )
    assert found.losses["align"].item() == pytest.approx(wanted.item(), rel=1e-10)
    assert found.counts["pairs_kept"] == pytest.approx(sum(HAS_VERB + HAS_NOUN) / (2 * PAIRS))


def test_the_settings_are_different_losses():
    factors = [unit_rows(seed, PAIRS) for seed in (5, 6, 7, 8)]
    losses = {
        step_of_three(output_of_three(factors=factors), NEGATIVES=n, **FACTORISED)
        .losses["align"]
        .item()
        for n in NEGATIVES
    }
    assert len(losses) == len(NEGATIVES)


def test_verb_and_noun_are_found_by_their_names():
    factors = [unit_rows(seed, PAIRS) for seed in (5, 6, 7, 8)]
    made = output_of_three(factors=factors)
    expected = step_of_three(made, NEGATIVES="drop_same_label", **FACTORISED).losses["align"]
    cfg = tiny_cfg(ALIGN__THRESHOLD=0.0, NEGATIVES="drop_same_label", **FACTORISED)
    cfg.MODEL.HEAD_NAMES, cfg.MODEL.NUM_CLASSES_LIST = ["scene", "noun", "verb"], [3, 7, 5]
    pairs, scene = three_clips(), torch.arange(PAIRS) % 3
    pairs.ego.labels = [scene, *reversed(pairs.ego.labels)]
    made = made._replace(ego_logits=[torch.zeros(PAIRS, k) for k in (3, 7, 5)])
    _, task = build_training(cfg)
    assert torch.equal(task.losses(made, pairs, 0, 0).losses["align"], expected)


def test_without_text_terms_the_factors_are_the_only_projections():
    no_text = {"WEIGHTS__EGO_TEXT": 0.0, "WEIGHTS__EXO_TEXT": 0.0}
    model, _ = build_training(tiny_cfg(**FACTORISED, **no_text))
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"ego", "exo", *FACTORS}
