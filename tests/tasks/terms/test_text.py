"""L_m against double loops: SUML.NEGATIVES, TEXT_NEGATIVES, further exo clips."""

import pytest
import torch

from tests.losses.naive import naive_dcl, unit_rows
from tests.tasks.terms.tiny_pairs import (
    EXO_NOUNS,
    EXO_VERBS,
    NEGATIVES,
    OTHER_NOUNS,
    OTHER_VERBS,
    PAIRS,
    RELATIONS,
    TAU,
    batch,
    output,
    output_of_three,
    step,
    step_of_three,
    three_clips,
)


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("text_negatives", ["both", "video"])
def test_text_terms_equal_the_double_loops(negatives, text_negatives):
    z_ego, z_exo = unit_rows(1, PAIRS), unit_rows(2, PAIRS)
    found = step(output(z_ego, z_exo), NEGATIVES=negatives, TEXT_NEGATIVES=text_negatives)
    join, within = negatives == "multi_positive", text_negatives == "both"
    of_ego, of_exo, _ = RELATIONS[negatives]
    for name, z, d, related in (
        ("ego_text", z_ego, batch().ego.text, of_ego),
        ("exo_text", z_exo, batch().exo.text, of_exo),
    ):
        wanted = naive_dcl(z, d, TAU, None, related, join)
        wanted = wanted + naive_dcl(d, z, TAU, None, related, join, within)
        assert found.losses[name].item() == pytest.approx(wanted.item(), rel=1e-10)
    assert found.counts["text_empty"] == 0


def test_the_settings_are_different_losses():
    found = [step(NEGATIVES=name) for name in NEGATIVES]
    for term in ("ego_text", "exo_text"):
        assert len({made.losses[term].item() for made in found}) == len(NEGATIVES)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_the_exo_term_is_over_all_exo_clips(negatives):
    made, clips = output_of_three(), three_clips()
    found = step_of_three(made, EXO_STREAM=True, NEGATIVES=negatives).losses
    z = torch.cat([made.z_exo, made.z_other])
    d = torch.cat([clips.exo.text, clips.other_exo.text])
    verbs, nouns = EXO_VERBS + OTHER_VERBS, EXO_NOUNS + OTHER_NOUNS

    def related(i, j):
        if negatives == "all":
            return False
        if negatives == "drop_same_text":
            return float(d[i] @ d[j]) > 1 - 1e-6
        return bool(verbs[i] & verbs[j]) and bool(nouns[i] & nouns[j])

    join = negatives == "multi_positive"
    wanted = naive_dcl(z, d, TAU, None, related, join) + naive_dcl(d, z, TAU, None, related, join)
    assert found["exo_text"].item() == pytest.approx(wanted.item(), rel=1e-10)
