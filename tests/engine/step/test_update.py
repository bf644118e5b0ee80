"""One optimizer step: in parts, clipped, scaled, averaged, and without waiting for the device."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from slowfast.config.heads import ego_heads
from slowfast.engine.monitor.collected import CollectedScores
from slowfast.engine.monitor.meters import TensorSums
from slowfast.engine.step import batches as chunks
from slowfast.engine.step.finite import FiniteWatch
from slowfast.engine.step.update import Update, UpdateOptions
from slowfast.lab.benchmark.timing import count_waits
from tests.engine.tiny_updates import (
    assert_same_gradients,
    batch_of,
    gradients,
    make_update,
    update_cfg,
    weights,
)

# Sums in another order in float64, through a few layers.
EXACT = 1e-8
CACHED = {"SOLVER__ACCUMULATE": 3, "SUML__GRAD_CACHE": True}


def step(cfg, batch=None):
    update = make_update(cfg)
    output = update(batch or batch_of(6), 0, 0).output
    return update, output


@pytest.mark.parametrize("kind", ["dcl", "dcl_weighted", "triplet"])
def test_a_cached_step_in_parts_is_that_of_the_whole_batch(kind):
    """Every term, its gradients, and the weights after the step."""
    whole, expected = step(update_cfg(SUML__ALIGN__KIND=kind))
    parts, output = step(update_cfg(SUML__ALIGN__KIND=kind, **CACHED))
    assert output.losses.keys() == expected.losses.keys()
    for name, loss in expected.losses.items():
        assert loss != 0
        assert float(output.losses[name]) == pytest.approx(loss.item(), rel=1e-6)
    assert_same_gradients(gradients(parts), gradients(whole), EXACT)
    assert_same_gradients(weights(parts), weights(whole), EXACT)


def test_uneven_parts_are_that_of_the_whole_batch():
    batch = batch_of(5)
    whole, _ = step(update_cfg(), batch)
    parts, output = step(update_cfg(**CACHED), batch)
    assert [len(x) for x in output.logits] == [5, 5]
    assert_same_gradients(gradients(parts), gradients(whole), EXACT)


def test_classification_needs_no_cache():
    weights_off = {f"SUML__WEIGHTS__{name}": 0.0 for name in ("ALIGN", "EGO_TEXT", "EXO_TEXT")}
    whole, expected = step(update_cfg(**weights_off))
    parts, output = step(update_cfg(SOLVER__ACCUMULATE=3, **weights_off))
    assert set(output.losses) == {"ego_verb", "ego_noun", "exo_verb", "exo_noun"}
    assert float(output.total) == pytest.approx(float(expected.total), rel=1e-6)
    assert_same_gradients(gradients(parts), gradients(whole), EXACT)
    torch.testing.assert_close(output.logits, expected.logits)
    assert torch.equal(output.labels[0], expected.labels[0])


def test_without_a_cache_the_negatives_are_those_of_a_part():
    _, expected = step(update_cfg())
    _, output = step(update_cfg(SOLVER__ACCUMULATE=3))
    assert float(output.losses["ego_text"]) != pytest.approx(float(expected.losses["ego_text"]))


def test_the_passes_of_a_cached_step_draw_the_same_dropout():
    """Against the graph of all parts at once, with the parts' seeds."""
    cfg = update_cfg(MODEL__DROPOUT_RATE=0.5, **CACHED)
    cached, output = step(cfg)
    joint, batch = make_update(cfg), batch_of(6)
    parts = chunks.split(batch, 3)
    outputs = []
    for index, part in enumerate(parts):
        joint.task.seed(joint.model, 0, 0, index, 3)
        outputs.append(joint.task.forward(joint.model, part))
    expected = joint.task.losses(chunks.joined(outputs), batch, 0, 0)
    expected.total.backward()
    assert float(output.total) == pytest.approx(float(expected.total), rel=1e-6)
    assert_same_gradients(gradients(cached), gradients(joint), EXACT)
    again, _ = step(cfg)
    assert_same_gradients(gradients(again), gradients(cached), 0)


@pytest.mark.parametrize("cache", [False, True])
def test_live_statistics_are_updated_once_by_the_mean_of_the_parts(cache):
    cfg = update_cfg(BN__NORM_TYPE="batchnorm", SOLVER__ACCUMULATE=2, SUML__GRAD_CACHE=cache)
    update, _ = step(cfg)
    singles = []
    for part in chunks.split(batch_of(6), 2):
        alone = make_update(cfg)
        alone.task.forward(alone.model, part)
        singles.append(weights(alone))
    for name, value in weights(update).items():
        if name.endswith("num_batches_tracked"):
            assert value == 1
        elif "running" in name:
            torch.testing.assert_close(value, (singles[0][name] + singles[1][name]) / 2)


@pytest.mark.parametrize("accumulate", [{}, CACHED], ids=["whole", "parts"])
def test_a_step_that_is_not_finite_changes_nothing(accumulate):
    cfg = update_cfg(BN__NORM_TYPE="batchnorm", SOLVER__EMA_DECAY=0.5, **accumulate)
    update = make_update(cfg)
    update(batch_of(6), 0, 0)
    before, average = weights(update), update.average.state_dict()
    average = {name: tensor.clone() for name, tensor in average.items()}
    bad = batch_of(6, 1)
    bad.ego.text[4] = float("nan")
    assert not update(bad, 0, 1).finite
    after = weights(update)
    for name, value in before.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(after[name], value), name
    for name, value in update.average.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, average[name]), name
    assert update(batch_of(6, 2), 0, 2).finite


def test_clipping_bounds_the_norm_of_all_gradients():
    _, plain = step(update_cfg())
    norm = float(plain.counts["grad_norm"])
    update, output = step(update_cfg(SOLVER__CLIP_GRAD_L2NORM=norm / 4))
    assert float(output.counts["grad_norm"]) == pytest.approx(norm)
    found = torch.stack([g.norm() for g in gradients(update).values()]).norm()
    assert float(found) == pytest.approx(norm / 4, rel=1e-4)  # torch adds 1e-6 to the norm
    loose, _ = step(update_cfg(SOLVER__CLIP_GRAD_L2NORM=norm * 4))
    assert_same_gradients(gradients(loose), gradients(step(update_cfg())[0]), 1e-12)


def test_clipping_bounds_every_entry():
    plain, _ = step(update_cfg())
    update, _ = step(update_cfg(SOLVER__CLIP_GRAD_VAL=1e-3))
    for name, gradient in gradients(plain).items():
        torch.testing.assert_close(gradients(update)[name], gradient.clamp(-1e-3, 1e-3))


def with_loss_scale(cfg) -> Update:
    """On the CPU, which a config does not allow."""
    plain = make_update(cfg)
    options = UpdateOptions(scale_loss=True)
    return Update(plain.model, plain.stepped, plain.task, plain.optimizer, options)


def test_a_loss_scale_leaves_gradients_as_they_are():
    scaled = with_loss_scale(update_cfg())
    output = scaled(batch_of(6), 0, 0).output
    plain, expected = step(update_cfg())
    # A power of two: exact.
    assert_same_gradients(gradients(scaled), gradients(plain), 1e-14)
    assert float(output.total) == float(expected.total)
    assert float(output.counts["loss_scale"]) == 2**16


def test_overflow_halves_the_scale_and_is_no_failure():
    update = with_loss_scale(update_cfg())
    overflowing = update.model.ego.head.projections[0].weight
    hook = overflowing.register_hook(lambda gradient: gradient * float("inf"))
    before = weights(update)
    updated = update(batch_of(6), 0, 0)
    assert updated.finite
    assert torch.isfinite(updated.output.counts["grad_norm"])
    assert all(torch.equal(x, before[name]) for name, x in weights(update).items())
    assert float(update.loss_scale.value) == 2**15
    update.loss_scale.value.fill_(2.0**-14)
    assert not update(batch_of(6), 0, 1).finite
    hook.remove()
    assert update(batch_of(6), 0, 2).finite


def test_the_state_goes_on_where_it_was():
    cfg = update_cfg(
        BN__NORM_TYPE="batchnorm", MODEL__DROPOUT_RATE=0.5, SOLVER__EMA_DECAY=0.7, **CACHED
    )
    straight, first = make_update(cfg), make_update(cfg)
    for iteration in range(4):
        straight(batch_of(6, iteration), 0, iteration)
    for iteration in range(2):
        first(batch_of(6, iteration), 0, iteration)
    second = make_update(cfg)
    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    for iteration in (2, 3):
        second(batch_of(6, iteration), 0, iteration)
    assert_same_gradients(weights(second), weights(straight), 0)
    assert_same_gradients(second.state_dict()["average"], straight.state_dict()["average"], 0)


def test_the_loss_scale_goes_on_where_it_was():
    update = with_loss_scale(update_cfg())
    update(batch_of(6), 0, 0)
    update.loss_scale.value.fill_(8.0)
    other = with_loss_scale(update_cfg())
    other.load_state_dict(update.state_dict())
    assert float(other.loss_scale.value) == 8
    assert float(other.loss_scale._good_steps) == 1


def waits(run: Callable[[], object]) -> dict[str, int]:
    return count_waits(run, torch.device("cpu"))


OPTIONS = [
    {},
    {"SOLVER__EMA_DECAY": 0.9, "SOLVER__CLIP_GRAD_L2NORM": 1.0},
    {"SOLVER__CLIP_GRAD_VAL": 1.0, "MODEL__RECOMPUTE_STAGES": ["s2"]},
    {"SOLVER__ACCUMULATE": 2},
    CACHED,
    {"SUML__ALIGN__KIND": "dcl_weighted"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_no_step_waits_for_the_device(options):
    """Includes everything that the loop does with the step's output, except reading it."""
    cfg = update_cfg(BN__NORM_TYPE="batchnorm", SOLVER__FUSED="always", **options)
    cfg.MODEL.DROPOUT_RATE = 0.5
    update = make_update(cfg, double=False)
    sums, watch = TensorSums(), FiniteWatch()
    scores = CollectedScores(ego_heads(cfg), logits=True)

    def one(iteration: int) -> None:
        batch = batch_of(6, iteration, double=False)
        output, finite = update(batch, 0, iteration)
        sums.add({"loss": output.total, **output.losses, **output.counts}, finite)
        scores.add(output.logits, output.labels, finite)
        watch.add(0, iteration, output, finite)

    one(0)
    assert waits(lambda: one(1)) == {}


def test_the_evaluated_model_has_the_averaged_weights():
    update, _ = step(update_cfg(SOLVER__EMA_DECAY=0.5))
    own = weights(update)
    with update.evaluated() as model:
        assert model is update.model
        assert not torch.equal(
            model.ego.head.projections[0].weight, own["ego.head.projections.0.weight"]
        )
    assert_same_gradients(weights(update), own, 0)
    plain, _ = step(update_cfg())
    with plain.evaluated() as model:
        assert_same_gradients(dict(model.state_dict()), weights(plain), 0)


def test_the_losses_of_a_frozen_batch_norm_need_no_statistics():
    update, _ = step(update_cfg(**CACHED))
    norms = [m for m in update.model.modules() if isinstance(m, nn.BatchNorm3d)]
    assert all(norm.num_batches_tracked == 0 for norm in norms)
