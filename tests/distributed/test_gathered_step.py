"""SUML.GATHER: two processes give the losses and gradients of one process on the joined batch."""

import functools
from unittest import mock

import pytest
import torch
from torch import nn

from slowfast.config.derived import has_second_exo
from slowfast.datasets.types import ClipBatch, PairedBatch
from slowfast.models.slowfast import NUM_BLOCKS
from slowfast.tasks.build import build_training
from slowfast.utils import distributed
from tests.devices import device_of
from tests.distributed.processes import run_in_processes
from tests.tasks.test_ego_exo_alignment import paired_batch, tiny_cfg

PAIRS = 3
# Of each exo clip, among the first four classes: the first and the fourth clip agree, and two more.
_EXO_VERBS = [[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
_EXO_NOUNS = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0]]
TERMS = ("ego_verb", "ego_noun", "exo_verb", "exo_noun", "align", "ego_text", "exo_text")


def _joined_batch(lonely_rank: bool, second_exo: bool) -> PairedBatch:
    """Two ranks' pairs; with `lonely_rank`, those of the second are all below the threshold.

    second_exo: with further exo clips, some of which share the ego clip's noun, and labels of
    exo clips as ego classes.

    Pairs that share a label, or a narration, are of one rank and of both.
    """
    batch = paired_batch(0, pairs=2 * PAIRS)
    assert batch.ego.text is not None
    assert batch.exo.text is not None
    verbs, nouns = batch.ego.labels
    verbs[:], nouns[:] = torch.tensor([0, 1, 0, 1, 0, 2]), torch.tensor([0, 1, 0, 1, 3, 2])
    for labels, classes in zip(batch.exo.labels, (_EXO_VERBS, _EXO_NOUNS), strict=True):
        labels[:] = torch.tensor(classes) @ torch.eye(labels.shape[1])[:4]
    batch.ego.text[[1, 4]] = batch.ego.text[[0, 3]].clone()
    batch.exo.text[5] = batch.exo.text[0]
    if lonely_rank:
        batch.ego.text[PAIRS:] *= -1
    if second_exo:
        batch.other_exo = paired_batch(1, pairs=2 * PAIRS).exo
        batch.exo.shares_label = torch.tensor([1, 1, 0, 1, 1, 1], dtype=torch.bool)
        batch.other_exo.shares_label = torch.tensor([1, 0, 1, 0, 1, 0], dtype=torch.bool)
        for clips in (batch.exo, batch.other_exo):
            clips.ego_classes = [nn.functional.pad(y, (1, 0)) for y in clips.labels]
    return batch


def _part(batch: PairedBatch, rows: slice) -> PairedBatch:
    def part(clips: ClipBatch) -> ClipBatch:
        assert clips.text is not None
        return ClipBatch(
            clips.frames[rows],
            [label[rows] for label in clips.labels],
            clips.indices[rows],
            clips.text[rows].double(),
            None if clips.shares_label is None else clips.shares_label[rows],
            ego_classes=clips.ego_classes and [has[rows] for has in clips.ego_classes],
        )

    return PairedBatch(*map(part, batch.clips()))


def _step(
    kind: str, lonely_rank: bool, **suml: str
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Losses and gradients of this process's part, averaged over the processes; float64.

    suml: further keys below SUML, with __ for the dots.
    """
    cfg = tiny_cfg(ALIGN__KIND=kind, WEIGHTS__ALIGN=1.0, **suml)
    cfg.MODEL.DROPOUT_RATE = 0.0
    torch.manual_seed(0)
    with mock.patch.dict(NUM_BLOCKS, {50: (1, 1, 1, 1)}):
        model, task = build_training(cfg)
    device = device_of(distributed.rank())
    model.double().to(device).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eval()
    world = distributed.world_size()
    stepped = distributed.data_parallel(model, device)
    first = distributed.rank() * PAIRS
    rows = slice(first, first + PAIRS) if world > 1 else slice(None)
    task._ego_transform = task._exo_transform = _Double(task._ego_transform)
    part = _part(_joined_batch(lonely_rank, has_second_exo(cfg)), rows)
    output = task.step(stepped, part.to(device), 0, 0)
    output.total.backward()
    losses = {n: float(distributed.all_reduce_sum(x) / world) for n, x in output.losses.items()}
    return losses, {name: p.grad.cpu() for name, p in model.named_parameters()}


class _Double:
    """A device transform in float64."""

    def __init__(self, transform) -> None:
        self._transform = transform

    def clips(self, batch):
        return [pathway.double() for pathway in self._transform.clips(batch)]


NEGATIVES = ("drop_same_label", "drop_same_text", "multi_positive")
CASES = [
    *(((kind, lonely), {}) for kind in ("dcl", "dcl_weighted") for lonely in (False, True)),
    *((("dcl", False), {"NEGATIVES": n}) for n in NEGATIVES),
    (("dcl", True), {"NEGATIVES": "drop_same_label"}),
    (("dcl_weighted", False), {"NEGATIVES": "multi_positive", "TEXT_NEGATIVES": "video"}),
    (("dcl", False), {"TEXT_NEGATIVES": "video"}),
    *((("soft", False), {"ALIGN__RELEVANCE": relevance}) for relevance in ("text", "label")),
    (("dcl", True), {"EXO_STREAM": "True"}),
    (("dcl", False), {"EXO_STREAM": "True", "NEGATIVES": "drop_same_label"}),
    *(
        (("factorised", False), {"PAIRS__MINING": "factors", "NEGATIVES": negatives})
        for negatives in ("all", "drop_same_label")
    ),
]


@functools.cache
def _case(number: int):
    settings, suml = CASES[number]
    return _step(*settings, **suml)


def _every_case():
    return [_case(number) for number in range(len(CASES))]


@pytest.fixture(scope="module")
def parts():
    """Per rank, the step of every case: the processes are started once."""
    return run_in_processes(2, _every_case)


@pytest.mark.parametrize("case", range(len(CASES)), ids=str)
def test_two_processes_equal_the_joined_batch(parts, case):
    losses, gradients = _case(case)
    assert losses.keys() == set(TERMS)
    assert losses["align"] != 0
    for part_losses, part_gradients in (rank_parts[case] for rank_parts in parts):
        for name, value in losses.items():
            assert part_losses[name] == pytest.approx(value, rel=1e-10)
        for name, gradient in gradients.items():
            # Relative to the largest entry: sums in another order in float64.
            limit = 1e-8 * float(gradient.abs().max().clamp(min=1e-12))
            torch.testing.assert_close(part_gradients[name], gradient, rtol=0, atol=limit)


def test_the_cases_are_different_losses():
    found = [_case(number)[0] for number in range(len(CASES)) if not CASES[number][0][1]]
    terms = [(losses["align"], losses["ego_text"], losses["exo_text"]) for losses in found]
    assert len(set(terms)) == len(terms)
