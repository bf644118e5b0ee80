"""Properties of an update on a GPU: waits of the host, states that move, batches out of slots."""

import copy

import pytest
import torch

from slowfast.datasets.loading.loader import BatchLoader
from slowfast.datasets.loading.sampler import GlobalBatchSampler
from slowfast.engine.checkpoints.host_copies import HostCopies
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.batches import DeviceCopies
from slowfast.engine.step.precision import set_precision
from slowfast.engine.step.update import Update, update_options
from slowfast.tasks.build import build_training
from tests.datasets.frames.tiny_videos import make_segment
from tests.engine.tiny_updates import update_cfg
from tests.tasks.test_ego_exo_alignment import paired_batch

CPU = torch.device("cpu")


def cuda() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


def update_on(device, cfg):
    torch.manual_seed(0)
    model, task = build_training(cfg)
    model.to(device).train()
    set_precision(model, cfg.TRAIN.PRECISION, device)
    optimizer = build_optimizer(model, cfg)
    return Update(model, model, task, optimizer, update_options(cfg))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"TRAIN__PRECISION": "bf16", "MODEL__CHANNELS_LAST": True, "MODEL__CONV_2D": True},
        {"TRAIN__PRECISION": "fp16", "SOLVER__CLIP_GRAD_L2NORM": 1.0},
        {"SOLVER__EMA_DECAY": 0.9, "SOLVER__ACCUMULATE": 2, "SUML__GRAD_CACHE": True},
        {"SOLVER__MOMENTUM": 0.0, "SOLVER__NESTEROV": False},
        {"SOLVER__OPTIMIZING_METHOD": "adamw", "SUML__QUEUE__SIZE": 8},
        {"SUML__EXO_STREAM": True, "SUML__NEGATIVES": "drop_same_label"},
        {"SUML__ALIGN__KIND": "triplet"},
        {"MODEL__RECOMPUTE_STAGES": ["s2", "s3"], "MODEL__DROPOUT_RATE": 0.5},
    ],
    ids=str,
)
def test_the_host_never_waits(options):
    """From the second step on, once the optimizer has its state."""
    update, batch = update_on(cuda(), update_cfg(**options)), paired_batch(0)
    if "SUML__EXO_STREAM" in options:
        batch.other_exo = paired_batch(1).exo
    batch = batch.pin_memory().to(cuda())
    update(batch, 0, 0)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for iteration in (1, 2):
            update(batch, 0, iteration)
    finally:
        torch.cuda.set_sync_debug_mode(before)


@pytest.mark.parametrize("method", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("fused", ["auto", "never"])
def test_a_training_goes_on_from_the_cpu_and_back(method, fused):
    # Small steps: with frozen norms of random weights larger ones soon overflow.
    small = {"SOLVER__BASE_LR": 1e-5, "SOLVER__WARMUP_START_LR": 1e-5}
    cfg = update_cfg(SOLVER__OPTIMIZING_METHOD=method, SOLVER__FUSED=fused, **small)
    first = update_on(CPU, cfg)
    first(paired_batch(0), 0, 0)
    state = copy.deepcopy(first.optimizer.state_dict())
    for device in (cuda(), CPU):
        update = update_on(device, cfg)
        update.optimizer.load_state_dict(state)
        updated = update(paired_batch(0).to(device), 0, 1)
        assert updated.finite
        state = copy.deepcopy(update.optimizer.state_dict())


def test_recomputed_stages_with_synchronised_norms():
    cfg = update_cfg(BN__NORM_TYPE="sync_batchnorm", MODEL__RECOMPUTE_STAGES=["s2", "s3"])
    assert update_on(cuda(), cfg)(paired_batch(0).to(cuda()), 0, 0).finite


def test_overflow_in_the_first_step_changes_no_weight():
    update = update_on(cuda(), update_cfg(TRAIN__PRECISION="fp16"))
    update.loss_scale.value.fill_(2.0**24)
    before = {name: w.clone() for name, w in update.model.state_dict().items()}
    updated = update(paired_batch(0).to(cuda()), 0, 0)
    assert updated.finite
    if update.loss_scale.value < 2.0**24:
        for name, weight in update.model.named_parameters():
            assert torch.equal(weight, before[name]), name


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_the_ring_arrive_whole(make_dataset, workers):
    """While later ones are decoded into the same slots; and no epoch takes more memory."""
    segments = [make_segment(start, start + 14) for start in range(1, 40, 3)]
    dataset = make_dataset(segments, resize_on_device=True)
    sampler = GlobalBatchSampler(len(dataset), 2, seed=1)
    loader = BatchLoader(dataset, sampler, num_workers=workers, pin_memory=True, shared_ring=True)
    to_device, reserved = DeviceCopies(cuda()), []
    for epoch in range(3):
        loader.set_epoch(epoch)
        moved = [to_device(batch) for batch in loader]
        for number, batch in enumerate(moved):
            assert batch.frames.is_cuda
            expected = loader.rebuild(epoch, number)
            assert batch.frames.cpu().equal(expected.frames)
        del moved, batch
        reserved.append(torch.cuda.memory_reserved())
    assert reserved[1] == reserved[2]
    loader.close()


def test_a_save_copies_into_pinned_memory_that_is_reused():
    copies, pointers = HostCopies(), set()
    for seed in range(2):
        torch.manual_seed(seed)
        weight = torch.randn(4, 2, 3, 3, 3, device=cuda()).to(memory_format=torch.channels_last_3d)
        copied = copies({"w": weight})["w"]
        assert copied.is_pinned()
        assert torch.equal(copied, weight.cpu())
        assert copied.stride() == weight.stride()
        pointers.add(copied.data_ptr())
    assert len(pointers) == 1
