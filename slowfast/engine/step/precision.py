"""Number formats of the matrix work: TRAIN.PRECISION and TEST.PRECISION.

Weights, batch-norm statistics, heads, losses and the optimizer stay in float32 (or whatever the
weights are in); bf16 and fp16 are those of the backbones' convolutions and activations.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.models.recognizer import Recognizer
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
# With cuDNN from 9.8 to before 9.15, PyTorch computes 3-D convolutions of half precision without
# it, slowly and with more memory, unless the channels are innermost. With older versions they may
# be wrong in bf16.
_CUDNN_WITHOUT, _CUDNN_AGAIN = 90800, 91500
_SMALLEST_SCALE, _LARGEST_SCALE = 2.0**-14, 2.0**24
_NEEDS_CUDA = ("tf32", "fp16")


def check_precision(key: str, name: str, device: torch.device) -> None:
    """Raises: UserError if the device cannot compute in `name`, the value of `key`."""
    if device.type == "cuda":
        if name == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise UserError(f"{key} bf16: this GPU has no bf16 arithmetic; set fp16 or fp32")
    elif name in _NEEDS_CUDA:
        raise UserError(
            f"{key} {name} needs CUDA, but this run is on the CPU; set it to fp32 or bf16"
        )


def set_precision(model: nn.Module, name: str, device: torch.device) -> None:
    """Let the backbones of the model compute in `name`; check it with `check_precision` first.

    TF32 is a switch of the whole process. Every call sets it for convolutions, which only backbones
    have.
    """
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = False
    for module in model.modules():
        if isinstance(module, Recognizer):
            module.autocast_backbone(HALF.get(name))
    if name in HALF:
        _warn_of_slow_half(name, device, channels_last=_has_channels_last(model))


def _has_channels_last(model: nn.Module) -> bool:
    """Layout of the first convolution in which it can be recognised."""
    layout = torch.channels_last_3d
    for weight in model.parameters():
        if weight.dim() == 5 and weight.shape[1] > 1 and weight[0, 0].numel() > 1:
            return weight.is_contiguous(memory_format=layout)
    return False


def _warn_of_slow_half(name: str, device: torch.device, channels_last: bool) -> None:
    if device.type == "cuda":
        version = torch.backends.cudnn.version() or 0
        if version >= _CUDNN_AGAIN or (version >= _CUDNN_WITHOUT and channels_last):
            return
        if version >= _CUDNN_WITHOUT or name == "bf16":
            skipped = version >= _CUDNN_WITHOUT
            logger.warning(
                "cuDNN %d.%d makes 3-D convolutions in %s slow or wrong; install 9.15 or newer, or "
                "set %s",
                version // 10000,
                version // 100 % 100,
                name,
                "MODEL.CHANNELS_LAST True" if skipped else "the precision to fp32",
            )
    elif name == "bf16" and not _cpu_has_bf16():
        logger.warning("this processor has no bf16 arithmetic: bf16 is slower than fp32 on it")


def _cpu_has_bf16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class LossScale:
    """Dynamic loss scale for fp16 (arXiv 1710.03740), on the device: the host never waits.

    Halves after a step with a gradient that is not finite, doubles after `growth_interval` steps
    without one.
    """

    def __init__(
        self, device: torch.device, initial: float = 2.0**16, growth_interval: int = 2000
    ) -> None:
        self.value = torch.full((), initial, device=device)
        self._good_steps = torch.zeros((), device=device)
        self._growth_interval = growth_interval

    def unscale(self, gradients: list[Tensor]) -> None:
        torch._foreach_mul_(gradients, self.value.reciprocal())

    def can_shrink(self) -> Tensor:
        """() bool: a smaller scale may fix an overflow."""
        return self.value > _SMALLEST_SCALE

    def update(self, finite: Tensor) -> None:
        """finite: () bool, whether the gradients of the last step were."""
        good = torch.where(finite, self._good_steps + 1, 0.0)
        grows = good >= self._growth_interval
        factor = torch.where(finite, torch.where(grows, 2.0, 1.0), 0.5)
        # In place: a captured or compiled step keeps reading the same tensors.
        self.value.mul_(factor).clamp_(_SMALLEST_SCALE, _LARGEST_SCALE)
        self._good_steps.copy_(torch.where(grows, 0.0, good))

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value, "good_steps": self._good_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value.copy_(state["value"])
        self._good_steps.copy_(state["good_steps"])
