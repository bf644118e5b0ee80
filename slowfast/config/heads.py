"""The classification heads of each view, from the config."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from fvcore.common.config import CfgNode

from slowfast.config.exo_sources import more_heads


class HeadSpec(NamedTuple):
    """One classification head, for one kind of label.

    name: name in logs, results and predictions (`verb`). num_classes: K.
    multi_label: a clip can have any number of classes, as a multi-hot vector (K,); otherwise one,
        as a class id.
    """

    name: str
    num_classes: int
    multi_label: bool


def ego_heads(cfg: CfgNode) -> tuple[HeadSpec, ...]:
    """MODEL.HEAD_NAMES with the sizes of MODEL.NUM_CLASSES_LIST."""
    multi_label = cfg.MODEL.LOSS_FUNC == "bce_logit"
    return _heads(cfg.MODEL.HEAD_NAMES, cfg.MODEL.NUM_CLASSES_LIST, multi_label)


def exo_heads(cfg: CfgNode) -> tuple[HeadSpec, ...]:
    """EXO.HEAD_NAMES with the sizes of EXO.NUM_CLASSES_LIST, then those of the sets of EXO.MORE.

    All exo heads are multi-label.
    """
    first = _heads(cfg.EXO.HEAD_NAMES, cfg.EXO.NUM_CLASSES_LIST, True)
    return first + tuple(HeadSpec(name, count, True) for name, count in more_heads(cfg))


def single_head(cfg: CfgNode) -> tuple[HeadSpec, ...]:
    """The single head of MODEL.NUM_CLASSES, called `label`."""
    return (HeadSpec("label", cfg.MODEL.NUM_CLASSES, cfg.MODEL.LOSS_FUNC == "bce_logit"),)


def heads_of(cfg: CfgNode, view: str) -> tuple[HeadSpec, ...]:
    """The heads of the `ego` or `exo` data."""
    return exo_heads(cfg) if view == "exo" else ego_heads(cfg)


def ego_activation(cfg: CfgNode) -> str:
    """Activation of ego scores in eval mode: MODEL.HEAD_ACT, for multi-label heads sigmoid."""
    return "sigmoid" if cfg.MODEL.LOSS_FUNC == "bce_logit" else str(cfg.MODEL.HEAD_ACT)


def joint_name(names: Collection[str]) -> str:
    """Name of the joint answer, which is right if every head is right.

    `action` for the heads verb and noun, `all` for other heads; "" for a single head, which has
    no joint answer.
    """
    if len(names) < 2:
        return ""
    return "action" if set(names) == {"verb", "noun"} else "all"


def _heads(names: list[str], counts: list[int], multi_label: bool) -> tuple[HeadSpec, ...]:
    return tuple(
        HeadSpec(name, count, multi_label) for name, count in zip(names, counts, strict=True)
    )
