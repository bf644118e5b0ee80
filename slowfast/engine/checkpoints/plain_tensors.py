"""Checks of single tensors of a file: plain ones, with finite values."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from slowfast.utils.errors import UserError


def check_plain(source: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that a model cannot take as its weights.

    Raises: UserError naming the first one that is sparse, nested, quantized or complex, or has no
    separate values.
    """
    for name, tensor in tensors.items():
        if kind := unusual_kind(tensor):
            raise UserError(
                f"{source}: weight {name} is a {kind} tensor; save it as a plain one (dense, real, "
                "with its values)"
            )


def unusual_kind(tensor: Tensor) -> str:
    """Kind of a tensor that is not plain; empty for a plain one."""
    if tensor.is_nested:
        return "nested"
    if tensor.layout is not torch.strided:
        return "sparse"
    if tensor.is_meta:
        return "meta"
    if tensor.is_quantized:
        return "quantized"
    if tensor.is_complex():
        return "complex"
    # A view that repeats a few values may claim any size.
    own = tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
    return "" if own else "repeated"


def is_finite(tensor: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether every value is finite once it is converted to `dtype`."""
    return bool(torch.isfinite(tensor.to(dtype)).all())
