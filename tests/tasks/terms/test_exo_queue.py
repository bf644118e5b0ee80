"""SUML.QUEUE: its content, its effect on the alignment, and resuming with it."""

import pytest
import torch

from slowfast.engine.checkpoint import load_training_state, save_checkpoint
from slowfast.engine.preflight.cost import step_cost
from slowfast.lab.benchmark.timing import count_waits
from slowfast.models.slowfast import NUM_BLOCKS
from slowfast.utils import distributed
from tests.distributed.processes import run_in_processes
from tests.engine.tiny_updates import (
    assert_same_gradients,
    batch_of,
    gradients,
    make_update,
    rows_of,
    update_cfg,
    weights,
)
from tests.losses.naive import naive_dcl

TAU, THRESHOLD = 0.06, 0.7
SIZE, PAIRS = 5, 4
# Sums in another order in float64, through a few layers.
EXACT = 1e-8


def queue_cfg(**overrides):
    queue = {
        "SUML__QUEUE__SIZE": SIZE,
        "SUML__QUEUE__MOMENTUM": 0.5,
        "SUML__ALIGN__THRESHOLD": THRESHOLD,
    }
    return update_cfg(**(queue | overrides))


def exo_weights(update):
    return {
        name: weight.clone()
        for name, weight in update.model.named_parameters()
        if name.startswith(("exo.", "exo_projection."))
    }


def queue_state(update):
    state = update.state_dict()["task"]["queue"]
    return {name: {k: v.clone() for k, v in state[name].items()} for name in ("encoder", "rows")}


def test_the_newest_clips_come_first():
    update = make_update(queue_cfg(SOLVER__BASE_LR=0.0))
    expected = []
    for iteration in range(2):
        batch = batch_of(PAIRS, iteration)
        with torch.no_grad():
            z_exo = update.task.forward(update.model, batch).z_exo
        update(batch, 0, iteration)
        expected = [z_exo, *expected]
        rows = queue_state(update)["rows"]
        held = torch.cat(expected)[:SIZE]
        # Weights stay: the slow copy is the exo half itself.
        torch.testing.assert_close(rows["z"][: len(held)], held, rtol=0, atol=1e-12)
        assert (rows["similarity"][len(held) :] == -2).all()
    newest = batch_of(PAIRS, 1)
    assert torch.equal(rows["labels"][:PAIRS], torch.stack(newest.ego.labels, 1))
    assert torch.equal(rows["d_exo"][:PAIRS], newest.exo.text)


def test_the_copy_follows_the_weights():
    update = make_update(queue_cfg())
    before = exo_weights(update)
    slow = list(before.values())
    for iteration in range(2):
        update(batch_of(PAIRS, iteration), 0, iteration)
        slow = [
            0.5 * old + 0.5 * new
            for old, new in zip(slow, exo_weights(update).values(), strict=True)
        ]
        found = queue_state(update)["encoder"].values()
        for ours, wanted in zip(found, slow, strict=True):
            torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-15)
    assert any(not torch.equal(x, y) for x, y in zip(slow, before.values(), strict=True))


@pytest.mark.parametrize("negatives", ["all", "drop_same_label", "drop_same_text"])
def test_the_alignment_equals_the_double_loop(negatives):
    update = make_update(queue_cfg(SUML__NEGATIVES=negatives))
    first, second = batch_of(PAIRS, 0), batch_of(PAIRS, 1)
    for batch in (first, second):
        batch.ego.labels[0][:], batch.ego.labels[1][:] = 0, torch.tensor([0, 1, 2, 0])
    second.exo.text[1] = first.exo.text[1]
    update(first, 0, 0)
    rows = queue_state(update)["rows"]
    output = update.task.forward(update.model, second)
    made = update.task.losses(output, second, 0, 1)

    def same(labels, others, i, j):
        return all(a[i] == b[j] for a, b in zip(labels, others, strict=True))

    def related(i, j, other=second):
        if negatives == "drop_same_label":
            return same(second.ego.labels, other.ego.labels, i, j)
        if negatives == "drop_same_text":
            return any(
                float(mine[i] @ theirs[j]) > 1 - 1e-6
                for mine, theirs in (
                    (second.ego.text, other.ego.text),
                    (second.exo.text, other.exo.text),
                )
            )
        return False

    kept, kept_first = (
        [i for i in range(PAIRS) if float(b.ego.text[i] @ b.exo.text[i]) > THRESHOLD]
        for b in (second, first)
    )
    assert len(kept) >= 2
    assert len(kept_first) > 0
    u, v = output.z_ego[kept], output.z_exo[kept]

    def extra(a):
        return [rows["z"][k] for k in kept_first if not related(kept[a], k, first)]

    arguments = {"related": lambda a, b: related(kept[a], kept[b]), "extra": extra}
    wanted = naive_dcl(u, v, TAU, **arguments) + naive_dcl(v, u, TAU, **arguments)
    assert made.losses["align"].item() == pytest.approx(wanted.item(), rel=1e-10)
    if negatives != "all":
        assert sum(len(extra(a)) for a in range(len(kept))) < len(kept) * len(kept_first)


def test_one_kept_pair_has_the_negatives_of_earlier_steps():
    update = make_update(queue_cfg(SUML__ALIGN__THRESHOLD=-1.0))
    alone = update(batch_of(1, 0), 0, 0).output
    assert alone.losses["align"] == 0
    assert alone.counts["align_empty"] == 1
    later = update(batch_of(1, 1), 0, 1).output
    assert later.losses["align"] != 0
    assert later.counts["align_empty"] == 0


def test_a_run_goes_on_exactly_from_a_checkpoint(tmp_path):
    cfg = queue_cfg(BN__NORM_TYPE="batchnorm", MODEL__DROPOUT_RATE=0.5)
    straight, first = make_update(cfg), make_update(cfg)
    for iteration in range(4):
        straight(batch_of(PAIRS, iteration), 0, iteration)
    for iteration in range(2):
        first(batch_of(PAIRS, iteration), 0, iteration)
    path = save_checkpoint(
        tmp_path / "checkpoint.pyth",
        model=first.model,
        optimizer=first.optimizer,
        epoch=0,
        cfg_text=cfg.dump(),
        extra={"update": first.state_dict()},
    )
    second = make_update(cfg)
    _, extra = load_training_state(path, second.model, second.optimizer)
    second.load_state_dict(extra["update"])
    for iteration in (2, 3):
        second(batch_of(PAIRS, iteration), 0, iteration)
    assert_same_gradients(weights(second), weights(straight), 0)
    for name, state in queue_state(straight).items():
        assert_same_gradients(queue_state(second)[name], state, 0)


def test_a_step_that_is_not_finite_leaves_no_trace():
    update = make_update(queue_cfg())
    update(batch_of(PAIRS, 0), 0, 0)
    before = queue_state(update)
    bad = batch_of(PAIRS, 1)
    bad.ego.text[0] = float("nan")
    assert not update(bad, 0, 1).finite
    for name, state in queue_state(update).items():
        assert_same_gradients(state, before[name], 0)


@pytest.mark.parametrize("cached", [False, True])
def test_parts_of_a_step_join_the_queue_as_its_batch_does(cached):
    whole = make_update(queue_cfg())
    parts = make_update(queue_cfg(SOLVER__ACCUMULATE=2, SUML__GRAD_CACHE=cached))
    for update in (whole, parts):
        update(batch_of(PAIRS, 0), 0, 0)
    expected = queue_state(whole)["rows"]
    assert_same_gradients(queue_state(parts)["rows"], expected, EXACT)
    if cached:
        for update in (whole, parts):
            update(batch_of(PAIRS, 1), 0, 1)
        assert_same_gradients(gradients(parts), gradients(whole), EXACT)


@pytest.mark.parametrize("negatives", ["drop_same_label", "drop_same_text", "multi_positive"])
def test_no_step_waits_for_the_device(negatives):
    cfg = queue_cfg(SUML__NEGATIVES=negatives, SOLVER__FUSED="always")
    update = make_update(cfg, double=False)
    for iteration in range(2):
        update(batch_of(PAIRS, iteration, double=False), 0, iteration)
    batch = batch_of(PAIRS, 2, double=False)
    assert count_waits(lambda: update(batch, 0, 2), torch.device("cpu")) == {}


def test_the_copy_costs_a_forward_pass_of_the_exo_half(monkeypatch):
    monkeypatch.setitem(NUM_BLOCKS, 50, (1, 1, 1, 1))
    plain, queued = (step_cost(cfg, PAIRS) for cfg in (update_cfg(), queue_cfg()))
    # Both halves are of one size, except for their heads.
    assert queued.forward_flops == pytest.approx(1.5 * plain.forward_flops, rel=0.01)
    assert queued.backward_flops == plain.backward_flops


def test_other_configs_keep_no_state():
    assert "task" not in make_update(update_cfg()).state_dict()


def _two_steps():
    update = make_update(queue_cfg())
    world = distributed.world_size()
    first = distributed.rank() * PAIRS // 2
    rows = slice(first, first + PAIRS // 2) if world > 1 else slice(None)
    for iteration in range(2):
        update(rows_of(batch_of(PAIRS, iteration), rows), 0, iteration)
    return gradients(update), queue_state(update)


def test_two_processes_equal_the_joined_batch():
    expected_gradients, expected_queue = _two_steps()
    for found_gradients, found_queue in run_in_processes(2, _two_steps):
        assert_same_gradients(found_gradients, expected_gradients, EXACT)
        for name, state in expected_queue.items():
            assert_same_gradients(found_queue[name], state, EXACT)
