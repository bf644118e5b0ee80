"""The content of a checkpoint: what a run writes, and the value that a file is read into."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.engine.checkpoints.weight_names import published_names
from slowfast.engine.checkpoints.weights import Weights
from slowfast.models.published_names import published_state_dict
from slowfast.utils.errors import UserError

_WEIGHT_KEYS = ("model_state", "state_dict")
# Keys with a fixed meaning; a run adds what else it needs to resume.
_FIXED_KEYS = ("epoch", "optimizer_state", "cfg", *_WEIGHT_KEYS)


def checkpoint_content(
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    cfg_text: str,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Collect what a checkpoint holds; its tensors are those of the model and the optimizer.

    epoch: zero-based index of the last finished epoch.
    extra: what else a resumed run needs: tensors, numbers, text and containers of them.
    """
    overlap = set(extra) & set(_FIXED_KEYS)
    if overlap:
        raise ValueError(f"extra must not hold {', '.join(sorted(overlap))}")
    return {
        "epoch": epoch,
        "model_state": OrderedDict(published_state_dict(model)),
        "optimizer_state": optimizer.state_dict(),
        "cfg": cfg_text,
        **extra,
    }


@dataclass(frozen=True, eq=False)
class CheckpointFile:
    """A checkpoint that was read: its weights, and by key what else it holds.

    other: empty for files of weights alone.
    """

    weights: Weights
    other: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_content(cls, source: str, content: Any) -> CheckpointFile:
        """Sort the content of a PyTorch file: a checkpoint, or weights by name.

        Raises: UserError where it holds no weights.
        """
        weights = Weights.named(source, published_names(_tensors(source, content)))
        if not any(key in content for key in _WEIGHT_KEYS):
            return cls(weights)
        return cls(weights, {k: v for k, v in content.items() if k not in _WEIGHT_KEYS})

    @property
    def epoch(self) -> int:
        """Zero-based index of the last finished epoch; -1 where the file names none."""
        return int(self.other.get("epoch", -1))

    @property
    def cfg_text(self) -> str:
        """The config (YAML) that it was trained with; empty where the file has none."""
        return str(self.other.get("cfg", ""))

    @property
    def optimizer_state(self) -> dict[str, Any] | None:
        state: dict[str, Any] | None = self.other.get("optimizer_state")
        return state

    @property
    def extra(self) -> dict[str, Any]:
        """Additions of a run: everything except epoch, optimizer state and config."""
        return {key: value for key, value in self.other.items() if key not in _FIXED_KEYS}

    @property
    def average(self) -> Weights | None:
        """Moving average of the weights (SOLVER.EMA_DECAY); None where the run kept none."""
        average = self.other.get("update", {}).get("average")
        return None if average is None else Weights.named(self.weights.source, average)


def _tensors(source: str, content: Any) -> dict[str, Tensor]:
    """The tensors of the state dict in a checkpoint, or of the checkpoint itself."""
    state = content
    if isinstance(content, Mapping):
        state = next((content[key] for key in _WEIGHT_KEYS if key in content), content)
    if isinstance(state, Mapping):
        tensors = {
            name: value
            for name, value in state.items()
            if isinstance(name, str) and isinstance(value, Tensor)
        }
        if tensors:
            return tensors
    held = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
    raise UserError(
        f"{source} holds no weights: expected {' or '.join(_WEIGHT_KEYS)}, or tensors by name, "
        f"found {held[:200] or 'nothing'}"
    )
