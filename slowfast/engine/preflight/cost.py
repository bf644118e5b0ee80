"""Cost of a model, counted on fake tensors: operations and memory, without any data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from slowfast.config.clip_geometry import feature_width
from slowfast.config.derived import aligns_by_factor, backbone_of, has_second_exo
from slowfast.config.heads import HeadSpec, exo_heads
from slowfast.datasets.from_cfg import device_transform
from slowfast.datasets.types import ClipBatch, PairedBatch
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.precision import HALF
from slowfast.models.build import build_test_model
from slowfast.models.recognizer import Recognizer
from slowfast.models.registry import model_spec
from slowfast.tasks.build import build_training


@dataclass(frozen=True)
class ViewCost:
    """One view of a test: `frames` of `side` pixels a side.

    flops: a multiply-add is two. weights: number of the model's parameters.
    """

    flops: int
    weights: int
    frames: int
    side: int


@dataclass(frozen=True)
class StepCost:
    """One training step of one process.

    clips: number of clips in the batch (pairs for two views). flops: of one clip, forward and then
        backward; a multiply-add is two.
    weights, trained: numbers of the model's parameters.
    parameters, gradients, optimizer, activations: bytes. Activations are those kept for the
        backward pass of the clips in one forward pass, without the workspaces of single layers.
    """

    clips: int
    weights: int
    trained: int
    forward_flops: float
    backward_flops: float
    parameters: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def bytes(self) -> int:
        return self.parameters + self.gradients + self.optimizer + self.activations

    @property
    def flops(self) -> float:
        """FLOPs of the whole step."""
        return self.clips * (self.forward_flops + self.backward_flops)


def view_cost(cfg: CfgNode) -> ViewCost:
    """Cost of the forward pass of one test view."""
    view, side = model_spec(cfg).view, cfg.DATA.TEST_CROP_SIZE
    frames = (cfg.EXO if view == "exo" else cfg.DATA).NUM_FRAMES
    with _fake(cfg) as cfg, torch.no_grad():
        model = build_test_model(cfg).eval()
        one = torch.zeros(1, *_clip_shape(cfg, view, frames, side), dtype=torch.uint8)
        clip = device_transform(cfg, view).clips(ClipBatch(one, [], torch.zeros(1)))
        with _Operations() as counter:
            model(clip)
        weights = sum(p.numel() for p in model.parameters())
    return ViewCost(counter.flops, weights, frames, side)


def step_cost(cfg: CfgNode, clips: int) -> StepCost:
    """A training step of a process that has `clips` clips (pairs for two views)."""
    at_once = -(-clips // cfg.SOLVER.ACCUMULATE)
    with _fake(cfg) as cfg:
        model, task = build_training(cfg)
        for module in model.modules():
            if isinstance(module, Recognizer):
                module.autocast_backbone(HALF.get(cfg.TRAIN.PRECISION))
        optimizer = build_optimizer(model, cfg)
        parameters = list(model.parameters())
        kept = KeptForBackward([*parameters, *model.buffers()])
        model.train()
        with _Operations() as forward, kept.counting():
            output = task.forward(model, synthetic_batch(cfg, at_once))
        with _Operations() as backward:
            torch.stack([x.float().sum() for x in _tensors(output)]).sum().backward()
        gradients = [p.grad for p in parameters if p.grad is not None]
        return StepCost(
            clips=clips,
            weights=sum(p.numel() for p in parameters),
            trained=sum(p.numel() for p in parameters if p.requires_grad),
            forward_flops=forward.flops / at_once,
            backward_flops=backward.flops / at_once,
            parameters=_bytes([*parameters, *model.buffers()]),
            gradients=_bytes(gradients),
            optimizer=round(_bytes(gradients) * _state_per_gradient(optimizer)),
            activations=kept.bytes,
        )


def synthetic_batch(cfg: CfgNode, clips: int, seed: int = 0) -> ClipBatch | PairedBatch:
    """A training batch of the real sizes, with random frames, labels and text."""
    draw, side = torch.Generator().manual_seed(seed), cfg.DATA.TRAIN_CROP_SIZE
    spec = model_spec(cfg)

    def labels(head: HeadSpec) -> Tensor:
        if head.multi_label:
            return torch.randint(0, 2, (clips, head.num_classes), generator=draw).float()
        return torch.randint(0, head.num_classes, (clips,), generator=draw)

    def view(name: str, heads: Sequence[HeadSpec]) -> ClipBatch:
        frames = (cfg.EXO if name == "exo" else cfg.DATA).NUM_FRAMES
        drawn = [labels(head) for head in heads]
        text = torch.randn(clips, cfg.SUML.EMBED_DIM, generator=draw)
        shape = (clips, *_clip_shape(cfg, name, frames, side))
        return ClipBatch(
            frames=torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8),
            labels=drawn,
            indices=torch.arange(clips),
            text=nn.functional.normalize(text, dim=1) if spec.is_dual else None,
            shares_label=torch.ones(clips, dtype=torch.bool) if aligns_by_factor(cfg) else None,
        )

    evaluated = view(spec.view, spec.heads(cfg))
    if not spec.is_dual:
        return evaluated
    others = [view("exo", exo_heads(cfg)) for _ in range(2 if has_second_exo(cfg) else 1)]
    return PairedBatch(evaluated, *others)


def _clip_shape(cfg: CfgNode, view: str, frames: int, side: int) -> tuple[int, ...]:
    """Shape of one sample: its frames, or its features as one token."""
    if cfg.TRAIN.ON_FEATURES:
        return (1, 1, feature_width(backbone_of(cfg, view)))
    return (frames, side, side, 3)


def _state_per_gradient(optimizer: torch.optim.Optimizer) -> float:
    """Bytes of optimizer state per byte of gradients, measured on one parameter."""
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    one = max(trained, key=Tensor.numel)
    for group in optimizer.param_groups:
        group["params"] = [p for p in group["params"] if p is one]
    optimizer.step()
    return _bytes(_tensors(optimizer.state[one].values())) / _bytes([one])


@contextmanager
def _fake(cfg: CfgNode) -> Iterator[CfgNode]:
    """Context manager in which tensors only have a shape.

    Yields the config without the options that need real tensors.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.COMPILE = False
    if cfg.BN.NORM_TYPE == "sync_batchnorm":
        cfg.BN.NORM_TYPE = "batchnorm"
    # Backbones of other libraries have real weights, see `real_tensors`.
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield cfg


class _Operations(TorchDispatchMode):
    """Counts operations of convolutions and matrix products, as torch's FlopCounterMode does.

    The original also attributes them to modules, which takes most of its time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        counted = flop_registry.get(func.overloadpacket)
        if counted is not None:
            self.flops += counted(*args, **(kwargs or {}), out_val=output)
        return output


class KeptForBackward:
    """Counts the memory that a forward pass keeps for the backward pass, each block once."""

    def __init__(self, elsewhere: Iterable[Tensor]) -> None:
        """elsewhere: tensors that are already counted as something else."""
        self.bytes = 0
        self._alive: list[Tensor] = list(elsewhere)
        self._seen = {_memory(tensor) for tensor in self._alive}

    def counting(self) -> saved_tensors_hooks:
        return saved_tensors_hooks(self._count, lambda tensor: tensor)

    def _count(self, tensor: Tensor) -> Tensor:
        memory = _memory(tensor)
        if memory not in self._seen:
            self._seen.add(memory)
            self._alive.append(tensor.detach())
            self.bytes += tensor.untyped_storage().nbytes()
        return tensor


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in (nested) sequences; other values are skipped."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for element in value:
            yield from _tensors(element)
