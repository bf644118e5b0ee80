"""The content of a checkpoint, as written by a run and as read from a file."""

from __future__ import annotations

import numbers
import reprlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.engine.checkpoints.plain_tensors import check_plain
from slowfast.engine.checkpoints.weight_names import published_names
from slowfast.engine.checkpoints.weights import Weights
from slowfast.models.published_names import published_state_dict
from slowfast.utils.errors import UserError

# Keys under which training loops store the weights, in search order.
_WEIGHT_KEYS = (
    *("model_state", "state_dict", "model_state_dict", "model", "module", "net"),
    *("ema", "ema_state_dict", "state_dict_ema", "model_ema"),
)
# Such a key may hold another one, as {"ema": {"state_dict": ...}}.
_WEIGHT_DEPTH = 3
_MOST_EPOCHS = 10**6
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
    """Collect the content of a checkpoint; its tensors share memory with model and optimizer.

    epoch: zero-based index of the last finished epoch.
    extra: further state of a resumed run: tensors, numbers, text and containers of them.
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
    """A checkpoint that was read: its weights, and its other entries by key.

    other: empty for files of weights alone.
    """

    weights: Weights
    other: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_content(cls, source: str, content: Any) -> CheckpointFile:
        """Sort the content of a PyTorch file: a checkpoint, or weights by name.

        Raises: UserError if it holds no weights.
        """
        tensors = tensors_in(source, content)
        check_plain(source, tensors)
        weights = Weights.named(source, *published_names(source, tensors))
        if _weights_key(content) is None:
            return cls(weights)
        return cls(weights, {k: v for k, v in content.items() if k not in _WEIGHT_KEYS})

    @property
    def epoch(self) -> int:
        """Zero-based index of the last finished epoch; -1 if the file names none.

        Raises: UserError if it is not a whole number.
        """
        epoch = self.other.get("epoch", -1)
        is_number = isinstance(epoch, numbers.Real) and not isinstance(epoch, bool)
        if not (is_number and -1 <= epoch <= _MOST_EPOCHS and epoch == int(epoch)):
            raise self._odd("epoch", epoch, "the index of an epoch")
        return int(epoch)

    @property
    def cfg_text(self) -> str:
        """The config (YAML) that it was trained with; empty if the file has none.

        Raises: UserError if it is not text.
        """
        text = self.other.get("cfg", "")
        if not isinstance(text, str):
            raise self._odd("cfg", text, "the text of a config")
        return text

    @property
    def processes(self) -> int | None:
        """Number of processes of the run that wrote it; None if the file does not say."""
        processes = self.other.get("processes")
        return processes if isinstance(processes, int) and processes > 0 else None

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
        """Moving average of the weights (SOLVER.EMA_DECAY); None if the run kept none."""
        update = self.other.get("update", {})
        average = update.get("average") if isinstance(update, Mapping) else None
        if average is None:
            return None
        source = f"{self.weights.source}, averaged weights"
        tensors = tensors_in(source, average)
        check_plain(source, tensors)
        return Weights.named(source, tensors)

    def _odd(self, key: str, value: object, expected: str) -> UserError:
        return UserError(
            f"{self.weights.source}: its {key} is {reprlib.repr(value)}, not {expected}; use the "
            "checkpoint as it was saved, or start from its weights with TRAIN.RESUME False"
        )


def _weights_key(content: Any) -> str | None:
    """The key under which a checkpoint has its weights; None for weights by name."""
    if not isinstance(content, Mapping):
        return None
    return next((key for key in _WEIGHT_KEYS if isinstance(content.get(key), Mapping)), None)


def tensors_in(source: str, content: Any) -> dict[str, Tensor]:
    """The tensors of the state dict in a checkpoint, or of the checkpoint itself."""
    state = content
    for _ in range(_WEIGHT_DEPTH):
        if (key := _weights_key(state)) is None:
            break
        state = state[key]
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
