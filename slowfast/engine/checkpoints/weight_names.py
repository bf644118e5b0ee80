"""Translates the names of weights in other formats to the published ones."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

T = TypeVar("T")

# At the beginning of a name: DistributedDataParallel, Lightning, and trainers with averages.
_WRAPPER = re.compile(r"^(?:(?:module|model|net)\.)+")
_AVERAGE = re.compile(r"^(?:(?:module|model)\.)*(?:ema|ema_model|model_ema)\.")
# Anywhere: torch.compile, fully sharded models, recomputed activations.
_INNER_WRAPPER = re.compile(
    r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
_SUB_BATCH_NORM = re.compile(r"(bn)\.bn\.(running_mean|running_var|num_batches_tracked)$")


def published_names(source: str, state: Mapping[str, T]) -> tuple[dict[str, T], int]:
    """(the values without wrappers and sub-batch-norm names, number of names with a wrapper).

    torchvision's ResNet is renamed. If a file has weights and their moving average (`model.`,
    `ema_model.`), the weights are used.

    Raises: UserError for other names that become the same and have different values.
    """
    out: dict[str, T] = {}
    origin: dict[str, str] = {}
    unwrapped = averages = 0
    # Averages last, as the weights take precedence.
    for name in sorted(state, key=lambda name: _AVERAGE.match(name) is not None):
        if ".split_bn." in name:
            continue
        inner = _INNER_WRAPPER.sub("", name)
        bare = _WRAPPER.sub("", _AVERAGE.sub("", inner))
        unwrapped += bare != name
        bare = _SUB_BATCH_NORM.sub(r"\1.\2", bare)
        if bare not in out:
            out[bare], origin[bare] = state[name], name
        elif _AVERAGE.match(inner):
            averages += 1
        elif not _is_same(out[bare], state[name]):
            raise UserError(
                f"{source} has the weight {bare} twice, as {origin[bare]} and {name}; keep one"
            )
    if averages:
        logger.info("%s: left out %d moving averages of its weights", source, averages)
    return _from_torchvision(out) if "layer1.0.conv1.weight" in out else out, unwrapped


def _is_same(one: object, other: object) -> bool:
    """Whether the values are the same, as for a module that was saved under two names."""
    return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)


# ---------------------------------------------------------------------------------------------
# Caffe2
# ---------------------------------------------------------------------------------------------
_CAFFE2_LEAF = {
    "w": "weight",
    "b": "bias",
    "s": "weight",
    "rm": "running_mean",
    "riv": "running_var",
}
# Blob names without their leaf; `t_` marks the fast pathway (p), s the stage, i the block.
_CAFFE2_MODULES = (
    (r"(?P<p>t_)?conv1", "s1.pathway{p}_stem.conv"),
    (r"(?P<p>t_)?res_conv1_bn", "s1.pathway{p}_stem.bn"),
    (
        r"(?P<p>t_)?res(?P<s>\d)_(?P<i>\d+)_branch1(?P<bn>_bn)?",
        "s{s}.pathway{p}_res{i}.branch1{bn}",
    ),
    (
        r"(?P<p>t_)?res(?P<s>\d)_(?P<i>\d+)_branch2(?P<c>[abc])(?P<bn>_bn)?",
        "s{s}.pathway{p}_res{i}.branch2.{c}{bn}",
    ),
    (r"t_pool1_subsample", "s1_fuse.conv_f2s"),
    (r"t_pool1_subsample_bn", "s1_fuse.bn"),
    (r"t_res(?P<s>\d)_\d+_branch2c_bn_subsample", "s{s}_fuse.conv_f2s"),
    (r"t_res(?P<s>\d)_\d+_branch2c_bn_subsample_bn", "s{s}_fuse.bn"),
    (
        r"(?P<p>t_)?nonlocal_conv(?P<s>\d)_(?P<i>\d+)_(?P<c>theta|phi|g|out)",
        "s{s}.pathway{p}_nonlocal{i}.conv_{c}",
    ),
    (r"(?P<p>t_)?nonlocal_conv(?P<s>\d)_(?P<i>\d+)_bn", "s{s}.pathway{p}_nonlocal{i}.bn"),
    (r"pred", "head.projection"),
)
_CAFFE2_NO_WEIGHT = re.compile(r"lr|model_iter|.*_momentum")


def from_caffe2(blobs: Mapping[str, T]) -> dict[str, T]:
    """Blobs under published names, those of unknown names as they are; solver state left out."""
    return {
        caffe2_name(blob) or blob: value
        for blob, value in blobs.items()
        if not _CAFFE2_NO_WEIGHT.fullmatch(blob)
    }


def caffe2_name(blob: str) -> str:
    """The published name of a Caffe2 blob; empty if it has none."""
    module, _, leaf = blob.rpartition("_")
    if leaf not in _CAFFE2_LEAF:
        return ""
    for pattern, published in _CAFFE2_MODULES:
        matched = re.fullmatch(pattern, module)
        if matched:
            parts = matched.groupdict("")
            parts["p"] = "1" if parts.get("p") else "0"
            return f"{published.format(**parts)}.{_CAFFE2_LEAF[leaf]}"
    return ""


# ---------------------------------------------------------------------------------------------
# 2-D ResNet of torchvision
# ---------------------------------------------------------------------------------------------
_CONVOLUTIONS = {"1": "a", "2": "b", "3": "c"}


def _from_torchvision(state: Mapping[str, T]) -> dict[str, T]:
    """A 2-D ResNet as the slow pathway."""
    return {_torchvision_name(name): value for name, value in state.items()}


def _torchvision_name(name: str) -> str:
    if name.startswith("conv1."):
        return name.replace("conv1.", "s1.pathway0_stem.conv.")
    if name.startswith("bn1."):
        return name.replace("bn1.", "s1.pathway0_stem.bn.")
    matched = re.fullmatch(r"layer(\d)\.(\d+)\.(?:(conv|bn)(\d)|downsample\.([01]))\.(\w+)", name)
    if matched is None:
        return name
    layer, block, kind, number, shortcut, leaf = matched.groups()
    if shortcut is not None:
        module = "branch1" if shortcut == "0" else "branch1_bn"
    else:
        module = f"branch2.{_CONVOLUTIONS[number]}{'_bn' if kind == 'bn' else ''}"
    return f"s{int(layer) + 1}.pathway0_res{block}.{module}.{leaf}"
