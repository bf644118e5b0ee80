"""Loads the optimizer state of a checkpoint, after comparing it with the weights.

The states come from the file, the options (weight decay, betas, momentum ...) from the config: a
file from another code base must not change them silently.
"""

from __future__ import annotations

import logging
import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.engine.checkpoints.plain_tensors import is_finite, unusual_kind
from slowfast.models.published_names import published_parameter_order
from slowfast.utils.errors import UserError, printable

logger = logging.getLogger(__name__)

_SGD_STATES = frozenset(("momentum_buffer",))
_ADAM_STATES = frozenset(("step", "exp_avg", "exp_avg_sq"))
# Options of a group that the schedule sets in every step, or that change no value.
_NOT_COMPARED = frozenset(
    ("params", "lr", "initial_lr", "fused", "foreach", "capturable", "differentiable")
)


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, saved: Any, model: nn.Module, source: str
) -> None:
    """Load the states of `saved`; the options of the optimizer stay, and differences are logged.

    saved: a `state_dict` of an optimizer of the same kind. source: its file, for messages.

    Raises: UserError, before anything is changed, where it is not one or does not fit the weights.
    """
    groups, states = _parts(saved, optimizer, source)
    numbers = [number for group in groups for number in group["params"]]
    if states.keys() - set(numbers):
        raise _does_not_fit(source, "it has states of weights that no group names")
    names = {id(parameter): name for name, parameter in published_parameter_order(model)}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    expected = _SGD_STATES if isinstance(optimizer, torch.optim.SGD) else _ADAM_STATES
    for number, parameter in zip(numbers, parameters, strict=True):
        name = names.get(id(parameter), f"weight {number}")
        if fault := _misfit(states.get(number, {}), parameter, expected, name):
            raise _does_not_fit(source, fault)
    _log_other_options(groups, optimizer, source)
    own = optimizer.state_dict()["param_groups"]
    merged = []
    for options, group in zip(own, groups, strict=True):
        # The schedule sets the learning rate before the next step, if there is one.
        lr = group.get("lr")
        lr = lr if isinstance(lr, float) and math.isfinite(lr) else options["lr"]
        merged.append({**options, "lr": lr, "params": group["params"]})
    optimizer.load_state_dict({"state": dict(states), "param_groups": merged})


def _parts(
    saved: Any, optimizer: torch.optim.Optimizer, source: str
) -> tuple[list[Mapping[str, Any]], Mapping[int, Any]]:
    """The groups and states of a state dict, of the structure that the optimizer has."""
    found = saved if isinstance(saved, Mapping) else {}
    groups, states = found.get("param_groups"), found.get("state")
    if not (isinstance(groups, list) and all(map(_is_group, groups)) and isinstance(states, dict)):
        raise _does_not_fit(source, "it is not the state_dict of a PyTorch optimizer")
    sizes = [len(group["params"]) for group in groups]
    own = [len(group["params"]) for group in optimizer.param_groups]
    if sizes != own:
        raise _does_not_fit(source, f"groups of {sizes} weights, the model's are of {own}")
    return groups, states


def _is_group(group: Any) -> bool:
    numbers = group.get("params") if isinstance(group, Mapping) else None
    return isinstance(numbers, list) and all(isinstance(number, int) for number in numbers)


def _misfit(state: Any, parameter: nn.Parameter, expected: frozenset[str], name: str) -> str:
    """Reason why the state of one weight does not fit it; empty if it does."""
    if not isinstance(state, Mapping):
        return f"the state of {name} is not a mapping"
    # A weight that has had no gradient yet has no state.
    if state and set(state) != expected:
        found = ", ".join(map(str, state))
        return f"{name} has {found} where this optimizer keeps {', '.join(sorted(expected))}"
    for key, value in state.items():
        if fault := _value_misfit(key, value, parameter):
            return f"{key} of {name} {fault}"
    return ""


def _value_misfit(key: str, value: Any, parameter: nn.Parameter) -> str:
    if value is None and key == "momentum_buffer":
        # SGD without momentum.
        return ""
    if key == "step" and isinstance(value, (int, float)):
        value = torch.tensor(float(value))
    if not isinstance(value, Tensor):
        return "is not a tensor"
    if kind := unusual_kind(value):
        return f"is a {kind} tensor"
    shape = () if key == "step" else tuple(parameter.shape)
    if tuple(value.shape) != shape:
        return f"has shape {tuple(value.shape)}, the weight {shape}"
    if key != "step" and not value.is_floating_point():
        return f"is of type {value.dtype}, the weight of {parameter.dtype}"
    return "" if is_finite(value) else "has NaN or infinite values"


def _log_other_options(
    groups: Sequence[Mapping[str, Any]], optimizer: torch.optim.Optimizer, source: str
) -> None:
    different = {
        f"{key} {printable(reprlib.repr(group[key]))} (now {options[key]!r})": None
        for group, options in zip(groups, optimizer.param_groups, strict=True)
        for key in group
        if key in options and key not in _NOT_COMPARED and not _equal(group[key], options[key])
    }
    if different:
        logger.warning(
            "%s: its optimizer had %s; the values of the config are used",
            source,
            ", ".join(different),
        )


def _equal(saved: Any, own: Any) -> bool:
    if isinstance(own, (list, tuple)):
        is_like = isinstance(saved, (list, tuple)) and len(saved) == len(own)
        return is_like and all(map(_equal, saved, own))
    return isinstance(saved, (int, float, str, type(None))) and bool(saved == own)


def _does_not_fit(source: str, reason: str) -> UserError:
    return UserError(
        f"{source}: its optimizer state does not fit ({reason}); resume with the same MODEL, "
        "SOLVER and SUML keys, or start again with another OUTPUT_DIR (TRAIN.AUTO_RESUME and "
        "TRAIN.RESUME False)"
    )
