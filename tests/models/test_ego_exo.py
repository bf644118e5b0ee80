"""The dual model: the parts that run and train, and independent halves."""

import pytest
import torch

from slowfast.models.dropout import reseed_dropout
from slowfast.models.ego_exo import FACTORS, EgoExoOutput
from slowfast.models.parts import Part
from slowfast.models.published_names import published_state_dict

PREFIXES = ("ego.", "exo.backbone.", "exo.head.", "ego_projection.", "exo_projection.")
EGO, EXO, HEADS = Part.EGO_PROJECTION, Part.EXO_PROJECTION, Part.EXO_HEADS
FACTORISED = {"SUML__ALIGN__KIND": "factorised", "SUML__PAIRS__MINING": "factors"}
NO_EXO_HEADS = {"EXO__NUM_CLASSES_LIST": [], "EXO__HEAD_NAMES": []}


def total(output: EgoExoOutput) -> torch.Tensor:
    """A scalar that depends on all present outputs."""
    parts = [*output.ego_logits, *(output.exo_logits or [])]
    parts += [z for z in (output.z_ego, output.z_exo) if z is not None]
    return sum((x**3).sum() + x.sum() for x in parts)


def part_of(name: str) -> str:
    return next(part for part in PREFIXES if name.startswith(part))


@pytest.mark.parametrize("clips", [1, 2])
def test_training_output(make_model, make_clip, clips):
    model = make_model().train()
    output = model(make_clip(1, clips), make_clip(2, clips))
    assert [tuple(x.shape) for x in output.ego_logits] == [(clips, 5), (clips, 7)]
    assert [tuple(x.shape) for x in output.exo_logits] == [(clips, 4), (clips, 6)]
    for z in (output.z_ego, output.z_exo):
        assert z.shape == (clips, 8)
        torch.testing.assert_close(z.norm(dim=1), torch.ones(clips))


def test_every_parameter_gets_a_gradient(make_model, make_clip, randomised):
    model = randomised(make_model()).train()
    total(model(make_clip(1), make_clip(2))).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize(
    ("parts", "unused"),
    [
        ({EGO, EXO, HEADS}, set()),
        ({EGO, EXO}, {"exo.head."}),
        ({HEADS}, {"ego_projection.", "exo_projection."}),
        ({EGO, HEADS}, {"exo_projection."}),
        ({EXO, HEADS}, {"ego_projection."}),
        ({EGO}, {"exo.backbone.", "exo.head.", "exo_projection."}),
        (set(), {"exo.backbone.", "exo.head.", "ego_projection.", "exo_projection."}),
    ],
)
def test_a_part_that_is_not_used_is_neither_run_nor_trained(
    make_model, make_clip, randomised, parts, unused
):
    model = randomised(make_model()).train()
    model.use(parts)
    ran = set()
    for part in PREFIXES:
        module = model.get_submodule(part.rstrip("."))
        for leaf in module.modules():
            if not list(leaf.children()):
                leaf.register_forward_hook(lambda *_, part=part: ran.add(part))
    output = model(make_clip(1), make_clip(2))
    assert (output.exo_logits is None) == ("exo.head." in unused)
    assert (output.z_ego is None) == ("ego_projection." in unused)
    assert (output.z_exo is None) == ("exo_projection." in unused)
    assert ran == set(PREFIXES) - unused
    total(output).backward()
    trained = {part_of(n) for n, p in model.named_parameters() if p.grad is not None}
    assert trained == set(PREFIXES) - unused
    assert {part_of(n) for n, p in model.named_parameters() if not p.requires_grad} == unused


def test_parts_of_a_model(make_model):
    assert make_model().parts == {EGO, EXO, HEADS}
    assert make_model(**FACTORISED).parts == set(Part)
    assert make_model(**NO_EXO_HEADS).parts == {EGO, EXO}
    with pytest.raises(ValueError, match="projections by verb and by noun"):
        make_model().use(Part)


def test_projections_by_factor_can_be_switched_off(make_model, make_clip):
    model = make_model(**FACTORISED).train()
    model.use({EGO, EXO})
    frozen = {n.split(".")[0] for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"exo", *FACTORS}
    assert not any(p.requires_grad for p in model.exo.head.parameters())
    # They are what asks for a second exo clip.
    assert model(make_clip(1), make_clip(2)).factors is None
    with pytest.raises(ValueError, match="second one"):
        make_model(**FACTORISED).train()(make_clip(1), make_clip(2))


def test_an_exo_half_without_heads_trains_its_projection(make_model, make_clip, randomised):
    model = randomised(make_model(**NO_EXO_HEADS)).train()
    output = model(make_clip(1), make_clip(2), make_clip(3))
    assert output.exo_logits is None
    assert output.other_logits is None
    (total(output) + output.z_other.pow(3).sum()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert not [name for name in published_state_dict(model) if name.startswith("head_lemma")]


def test_an_unused_exo_half_needs_no_clip(make_model, make_clip):
    model = make_model().train()
    with pytest.raises(ValueError, match="exo clip"):
        model(make_clip(1))
    model.use({EGO})
    assert model(make_clip(1)).exo_logits is None


def test_an_unused_exo_half_keeps_its_statistics(make_model):
    model = make_model().train()
    model.use({EGO})
    assert not model.exo.training
    assert not model.train().exo.training
    assert model.ego.training


def test_eval_gives_ego_scores_and_never_touches_the_exo_half(make_model, make_clip):
    model = make_model().eval()
    for parameter in model.exo.parameters():
        parameter.data.fill_(float("nan"))
    with torch.no_grad():
        scores = model(make_clip(1))
        with_exo = model(make_clip(1), make_clip(2))
    for task in (0, 1):
        assert torch.equal(scores[task], model.ego(make_clip(1))[task])
        assert torch.equal(scores[task], with_exo[task])
        torch.testing.assert_close(scores[task].sum(1), torch.ones(2))


def test_the_halves_draw_their_dropout_separately(make_model, make_clip):
    with_exo = make_model().train()
    without = make_model().train()
    without.use({EGO})
    for model in (with_exo, without):
        reseed_dropout(model.ego, 11)
        reseed_dropout(model.exo, 12)
    ours, theirs = with_exo(make_clip(1), make_clip(2)), without(make_clip(1))
    for a, b in zip(ours.ego_logits, theirs.ego_logits, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(ours.z_ego, theirs.z_ego)


def test_projections_take_the_feature_before_dropout(make_model, make_clip):
    model = make_model(MODEL__DROPOUT_RATE=0.9).train()
    outputs = []
    for seed in (1, 2):
        reseed_dropout(model, seed)
        outputs.append(model(make_clip(1), make_clip(2)))
    assert torch.equal(outputs[0].z_ego, outputs[1].z_ego)
    assert not torch.equal(outputs[0].ego_logits[0], outputs[1].ego_logits[0])


def test_projection_normalises_before_and_after(make_model, make_clip, randomised):
    # Without a bias the first norm would not show.
    model = randomised(make_model()).train()
    feature = model.ego.features(make_clip(1)).detach()
    linear = model.ego_projection.linear
    expected = (feature / feature.norm(dim=1, keepdim=True)) @ linear.weight.T + linear.bias
    expected = expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(model.ego_projection(feature), expected)
    torch.testing.assert_close(model.ego_projection(100 * feature), expected)


def test_the_halves_share_no_weight(make_model):
    model = make_model()
    assert not {id(p) for p in model.ego.parameters()} & {id(p) for p in model.exo.parameters()}
    assert type(model.ego.backbone) is type(model.exo.backbone)
    assert not torch.equal(
        model.ego.backbone.s1.pathway0_stem.conv.weight,
        model.exo.backbone.s1.pathway0_stem.conv.weight,
    )
