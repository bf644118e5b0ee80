"""Training steps on a device that is not the CPU: no operation mixes devices, no host waits.

`tests/gpu` repeats the most important ones on a GPU.
"""

import pytest
import torch

from slowfast.datasets.from_cfg import device_transform
from slowfast.datasets.types import SegmentViews, View
from slowfast.engine.monitor.collected import CollectedScores
from slowfast.engine.monitor.meters import TensorSums
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.batches import DeviceCopies
from slowfast.engine.step.finite import FiniteWatch
from slowfast.engine.step.precision import set_precision
from slowfast.engine.step.update import Update, update_options
from slowfast.engine.testing.view_scoring import SegmentScorer, ViewJoin
from slowfast.models.build import build_test_model
from slowfast.models.norms import fold_batch_norms
from slowfast.models.registry import model_spec
from slowfast.models.slowfast import NUM_BLOCKS
from slowfast.tasks.build import build_training
from slowfast.tasks.terms.recognition import EgoRecognition
from tests.engine.tiny_updates import update_cfg
from tests.pretend_cuda import (
    CUDA,
    CudaTensor,
    HostWait,
    MixedDevices,
    host_may_wait,
    on_cuda,
    pretend_cuda,
)
from tests.tasks.terms.tiny_pairs import batch, three_clips

CPU = torch.device("cpu")
SUML = [
    {"SUML__EXO_STREAM": True, "SUML__NEGATIVES": "drop_same_label"},
    {"SUML__ALIGN__KIND": "dcl_weighted", "SUML__NEGATIVES": "multi_positive"},
    {"SUML__ALIGN__KIND": "triplet", "SUML__TEXT_NEGATIVES": "video"},
    {"SUML__ALIGN__KIND": "soft", "SUML__ALIGN__RELEVANCE": "label"},
    {"SUML__ALIGN__KIND": "factorised", "SUML__PAIRS__MINING": "factors"},
    {"SUML__QUEUE__SIZE": 8, "SUML__NEGATIVES": "drop_same_text"},
    {"SUML__ALIGN__KIND": "none", "MODEL__SHARE_BACKBONE": True},
]
SPEED = [
    {"TRAIN__PRECISION": "tf32", "MODEL__CHANNELS_LAST": True, "BN__NORM_TYPE": "sync_batchnorm"},
    {"TRAIN__PRECISION": "bf16", "MODEL__CHANNELS_LAST": True, "MODEL__CONV_2D": True},
    {"TRAIN__PRECISION": "fp16", "SOLVER__CLIP_GRAD_L2NORM": 1.0, "BN__NORM_TYPE": "batchnorm"},
    {"SOLVER__CLIP_GRAD_VAL": 1.0, "SOLVER__EMA_DECAY": 0.9, "SOLVER__ACCUMULATE": 2},
    {"SUML__GRAD_CACHE": True, "SOLVER__ACCUMULATE": 2, "SUML__QUEUE__SIZE": 8},
    {"SOLVER__MOMENTUM": 0.0, "SOLVER__NESTEROV": False, "SUML__ALIGN__KIND": "soft"},
    {"SOLVER__OPTIMIZING_METHOD": "adam", "MODEL__DROPOUT_RATE": 0.5, "MODEL__PROBE": "attentive"},
    {"SOLVER__OPTIMIZING_METHOD": "adamw", "SOLVER__LAYER_DECAY": 0.5, "MODEL__FREEZE_STAGES": 2},
    {"MODEL__RECOMPUTE_STAGES": ["s2", "s5"], "BN__NORM_TYPE": "batchnorm"},
    {"MODEL__MODEL_NAME": "SlowFast", "SUML__ENABLE": False, "MODEL__HEAD_POOL": "window"},
    {"MODEL__MODEL_NAME": "ExoSlowFast", "SUML__ENABLE": False},
]


@pytest.fixture(autouse=True)
def _shallow(monkeypatch):
    monkeypatch.setitem(NUM_BLOCKS, 50, (1, 1, 1, 1))


def cfg_of(**options):
    return update_cfg(**{"SOLVER__BASE_LR": 1e-4, "SOLVER__WARMUP_START_LR": 1e-4, **options})


def update_on(device, cfg):
    torch.manual_seed(0)
    model, task = build_training(cfg)
    if device == CUDA:
        on_cuda(model)
    model.train()
    set_precision(model, cfg.TRAIN.PRECISION, device)
    update = Update(model, model, task, build_optimizer(model, cfg), update_options(cfg))
    if update.loss_scale:
        # The first steps of a training halve it until no gradient overflows.
        update.loss_scale.value.fill_(2.0**6)
    return update


def batch_for(cfg):
    """With frames that the device resizes, and lighting."""
    of_three = cfg.SUML.EXO_STREAM or cfg.SUML.ALIGN.KIND == "factorised"
    pairs = three_clips() if of_three else batch()
    for clips in pairs.clips():
        count = len(clips.indices)
        clips.text = clips.text.float()
        clips.lighting = torch.full((count, 3), 0.1)
        clips.resize = torch.tensor([[32, 40, 3, 0, 32, 36, 2, 0, 1]] * count)
        clips.crop_size = 32
    pairs.ego.labels = pairs.ego.labels[: len(model_spec(cfg).heads(cfg))]
    views = {"SlowFast": pairs.ego, "ExoSlowFast": pairs.exo}
    return views.get(cfg.MODEL.MODEL_NAME, pairs)


def second_step(device, cfg):
    """Losses of the second of two steps, in which the host does not wait, as in every later one.

    The optimizer has its state then, and the indices of the slow pathway are on the device.
    """
    update = update_on(device, cfg)
    pairs = batch_for(cfg).pin_memory().to(device)
    with host_may_wait():
        update(pairs, 0, 0)
    output, finite = update(pairs, 0, 1)
    FiniteWatch().add(0, 1, output, finite)
    TensorSums().add({**output.losses, **output.counts}, finite)
    CollectedScores(model_spec(cfg).heads(cfg), logits=True).add(
        output.logits, output.labels, finite
    )
    assert all(p.grad.device == device for p in update.model.parameters() if p.grad is not None)
    with host_may_wait():
        assert finite
        return {name: loss.item() for name, loss in output.losses.items()}


@pytest.mark.parametrize("options", [*SUML, *SPEED], ids=str)
def test_a_step_stays_on_the_device(options):
    with pretend_cuda():
        assert second_step(CUDA, cfg_of(**options))


def test_it_is_the_step_of_the_cpu():
    with pretend_cuda():
        found = second_step(CUDA, cfg_of())
        assert found == second_step(CPU, cfg_of(SOLVER__FUSED="always"))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (lambda logits: float(logits.detach().sum()), HostWait),
        (lambda logits: logits[logits > 0], HostWait),
        (lambda logits: logits + torch.zeros(logits.shape), MixedDevices),
        (lambda logits: logits[torch.arange(2)], MixedDevices),
    ],
    ids=["read", "mask", "sum", "index"],
)
def test_a_fault_in_a_term_is_seen(fault, error, monkeypatch):
    def faulty(self, output, batch, step):
        fault(output.ego_logits[0])
        return call(self, output, batch, step)

    call = EgoRecognition.__call__
    monkeypatch.setattr(EgoRecognition, "__call__", faulty)
    with pretend_cuda(), pytest.raises(error):
        second_step(CUDA, cfg_of())


@pytest.mark.parametrize("resized", [None, (40, 48)])
def test_a_segment_is_tested_with_one_wait(resized):
    """For the scores of all its views, which are cut on the device."""
    cfg = cfg_of(MODEL__MODEL_NAME="MultiTaskSlowFast", SUML__ENABLE=False)
    views = [View(tuple(range(8)), 0, 1, 1), View(tuple(range(1, 9)), 2, 0, 1)]
    frames = torch.randint(0, 256, (9, 36, 36, 3), dtype=torch.uint8)
    labels = (torch.tensor(1), torch.tensor(2))
    segment = SegmentViews(frames, views, labels, 0, 32, resized)
    join = ViewJoin(model_spec(cfg).heads(cfg), "sum", logits=False)
    model = build_test_model(cfg).eval()
    assert fold_batch_norms(model)
    with pretend_cuda():
        set_precision(on_cuda(model), "bf16", CUDA)
        transform = device_transform(cfg, "ego")
        segment = segment.pin_memory()
        scorer = SegmentScorer(model, transform, join, chunk_views=1, device=CUDA)
        with host_may_wait():
            scorer(segment)
        with host_may_wait() as waits:
            found = scorer(segment)
    assert waits == ["Tensor.cpu"]
    assert [x.sum() for x in found.probabilities] == pytest.approx([1, 1])


class Stream:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def __enter__(self):
        self.log.append(f"into {self.name}")

    def __exit__(self, *_):
        self.log.append(f"out of {self.name}")

    def wait_stream(self, other):
        self.log.append(f"{self.name} waits for {other.name}")


def test_batches_are_copied_on_their_own_stream(monkeypatch):
    """And no tensor's memory is used again before the compute stream is done with it."""
    log = []
    copies, compute = Stream(log, "copies"), Stream(log, "compute")
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: copies)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: compute)
    monkeypatch.setattr(
        CudaTensor, "record_stream", lambda tensor, stream: log.append(f"kept for {stream.name}")
    )
    with pretend_cuda():
        moved = DeviceCopies(CUDA)(batch().pin_memory())
    on_device = [x for clips in moved.clips() for x in (clips.frames, *clips.labels, clips.text)]
    assert {x.device for x in on_device} == {CUDA}
    order = ["into copies", "out of copies", "compute waits for copies"]
    assert log == [*order, *["kept for compute"] * len(on_device)]
