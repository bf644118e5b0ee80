"""Copies the weights of a file into a model and reports what became of every name."""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from slowfast.engine.checkpoints.formats import load_checkpoint_file, weights_of
from slowfast.engine.checkpoints.weight_names import (
    EXO_ONLY_HEAD,
    head_of,
    heads_in,
    published_names,
    stage_of,
    with_head,
)
from slowfast.models.published_names import EXO_HEAD, published_state_dict
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

_EXAMPLES = 3
# RESNET.DEPTH by the number of blocks of s4.
_DEPTHS = {6: 50, 23: 101}
_S4_BLOCK = re.compile(r"s4(?:_t)?\.pathway0_res(\d+)\.")


class Need(enum.Enum):
    """What a model must get from a file; less than that is an error."""

    NOTHING = "nothing"
    # A training may start with new heads and projections.
    BACKBONE = "backbone"
    # A test runs with no weight that is random.
    ALL = "all"


class Shapes(NamedTuple):
    """The shape of one weight in the file and in the model."""

    file: tuple[int, ...]
    model: tuple[int, ...]


@dataclass
class LoadReport:
    """What became of the names of a file and of a model; all are published names.

    missing: in the model only; they keep their values. unexpected: in the file only; ignored.
    mismatched: in both, with other shapes; not loaded.
    refused: why this is not enough; empty where it is allowed.
    """

    source: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, Shapes] = field(default_factory=dict)
    refused: str = ""

    def summary(self) -> str:
        """One line: how many of each, with examples, and whether that is allowed."""
        verdict = f"refused: {self.refused}" if self.refused else "allowed"
        return (
            f"{self.source}: {len(self.loaded)} weights loaded; "
            f"{_count(self.missing)} missing, which keep their initial values; "
            f"{_count(self.unexpected)} that the model does not need; "
            f"{_count(self.mismatched)} of another shape: {verdict}"
        )


@dataclass
class Match:
    """The report on a file and a model, and the pairs (weight of the model, value) to copy."""

    report: LoadReport
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def copy(self) -> LoadReport:
        """Give the model the values; logs and returns the report."""
        for target, value in self.pairs:
            target.copy_(value)
        logger.info("%s", self.report.summary())
        return self.report


def load_weights(
    source: Path | str | Mapping[str, Any],
    model: nn.Module,
    *,
    checkpoint_type: str = "pytorch",
    head: str = "",
    inflate: bool = False,
    need: Need = Need.NOTHING,
) -> LoadReport:
    """Copy the weights of a file, checkpoint or state dict into `model`; logs and returns a report.

    checkpoint_type: pytorch (also .safetensors) or caffe2.
    head: the name of the model's own head in the file, where it is another task's.
    inflate: make 3-D convolutions of 2-D ones.
    need: what the file must bring.

    Raises: UserError, before any weight is changed, for a file that cannot be read or does not
        bring what is needed.
    """
    if isinstance(source, (str, Path)):
        name, state = str(source), load_checkpoint_file(source, checkpoint_type)["model_state"]
    else:
        name, state = "the state dict", published_names(weights_of(source, "the state dict"))
    return match_weights(name, state, published_state_dict(model), head, inflate, need).copy()


def match_weights(
    source: str,
    state: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    head: str = "",
    inflate: bool = False,
    need: Need = Need.NOTHING,
    section: str = "TEST",
) -> Match:
    """What `load_weights` would copy, for a state dict and some of a model's weights by name.

    section: of the configuration, TEST or TRAIN, for errors.

    Raises: UserError where the state dict does not bring what is needed.
    """
    if head:
        state = _head_renamed(source, state, targets, head, section)
    match = _match(source, state, targets, inflate)
    if need is not Need.NOTHING:
        match.report.refused = _reason(match.report, state, targets, inflate, need, section)
    if match.report.refused:
        raise UserError(f"{source} does not fit the model: {match.report.refused}")
    return match


def inflate_weight(weight: Tensor, frames: int) -> Tensor:
    """A 2-D convolution (O, I, H, W) as a 3-D one (O, I, frames, H, W): repeated over time and
    divided by its length, so that a still clip gives the same features."""
    return weight.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames


def _match(
    source: str, state: Mapping[str, Tensor], targets: Mapping[str, Tensor], inflate: bool
) -> Match:
    match = Match(LoadReport(source))
    report = match.report
    for name, target in targets.items():
        if name not in state:
            # Counts batches since the start; older torch and other frameworks have none.
            if not name.endswith("num_batches_tracked"):
                report.missing.append(name)
            continue
        value = state[name]
        if inflate and value.ndim == 4 and target.ndim == 5:
            value = inflate_weight(value, target.shape[2])
        if value.shape != target.shape:
            report.mismatched[name] = Shapes(tuple(value.shape), tuple(target.shape))
            continue
        match.pairs.append((target, value))
        report.loaded.append(name)
    report.unexpected = [name for name in state if name not in targets]
    return match


def _head_renamed(
    source: str, state: Mapping[str, Tensor], targets: Mapping[str, Tensor], head: str, section: str
) -> Mapping[str, Tensor]:
    found = heads_in(state)
    if head not in found:
        raise UserError(
            f"{section}.CHECKPOINT_HEAD {head}: {source} has no head of that name, but "
            f"{', '.join(found) or 'none at all'}"
        )
    own = [name for name in heads_in(targets) if name != EXO_HEAD]
    return with_head(state, head, own[0]) if own else state


def _reason(
    report: LoadReport,
    state: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    inflate: bool,
    need: Need,
    section: str,
) -> str:
    """Why the model does not get what it needs; empty where it does."""
    if not report.loaded:
        return (
            f"none of its {len(state)} weights ({_examples(state)}) has a name and shape of the "
            "model; check the file, and CHECKPOINT_INFLATE for 2-D weights"
        )
    classes = _other_classes(report, state, targets)
    if classes:
        return classes
    if inflate and need is Need.BACKBONE:
        return ""  # a 2-D network has no fast pathway, and blocks of other widths after a fusion
    architecture = _other_architecture(report, state, targets)
    if architecture:
        return architecture
    if report.mismatched:
        return f"{_count(report.mismatched)} have another shape; take a file of this model"
    if need is Need.ALL and report.missing:
        return _missing(report, state, targets, section)
    return ""


def _other_classes(
    report: LoadReport, state: Mapping[str, Tensor], targets: Mapping[str, Tensor]
) -> str:
    """In words, the first head whose numbers of classes differ; empty where they agree."""
    heads = heads_in(
        name for name, shapes in report.mismatched.items() if shapes.file[1:] == shapes.model[1:]
    )
    if not heads:
        return ""
    file, model = (_class_counts(weights, heads[0]) for weights in (state, targets))
    key = "MODEL.NUM_CLASSES_LIST (SlowFast: MODEL.NUM_CLASSES)"
    if heads[0] in (EXO_HEAD, EXO_ONLY_HEAD):
        key = "EXO.NUM_CLASSES_LIST"
    return (
        f"its {heads[0]} has {file} classes where the configuration has {model}; set {key} to the "
        "file's, or, to train a new head, give TASK a name of its own"
    )


def _class_counts(weights: Mapping[str, Tensor], head: str) -> list[int]:
    return [
        len(weight)
        for name, weight in weights.items()
        if head_of(name) == head and name.endswith(".weight")
    ]


def _other_architecture(
    report: LoadReport, state: Mapping[str, Tensor], targets: Mapping[str, Tensor]
) -> str:
    """In words, how the backbone of the file differs; empty where it does not."""
    stages = {stage_of(name) for name in targets} - {""}
    missing = [name for name in report.missing if stage_of(name)]
    extra = [name for name in report.unexpected if stage_of(name) in stages]
    other = [name for name in report.mismatched if stage_of(name)]
    if not (missing or extra or other):
        return ""
    depths = _depth_in_words(state, targets)
    return (
        f"of its backbone, {_count(missing)} are missing, {_count(extra)} are too many and "
        f"{_count(other)} have another shape; set the RESNET and SLOWFAST keys to the file's "
        f"architecture, or take another file{depths}"
    )


def _depth_in_words(state: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> str:
    def depth(names: Iterable[str]) -> int | None:
        blocks = {matched[1] for matched in map(_S4_BLOCK.match, names) if matched}
        return _DEPTHS.get(len(blocks))

    file, model = depth(state), depth(targets)
    if None in (file, model) or file == model:
        return ""
    return f" (it looks like RESNET.DEPTH {file}, the configuration has {model})"


def _missing(
    report: LoadReport, state: Mapping[str, Tensor], targets: Mapping[str, Tensor], section: str
) -> str:
    own, found = heads_in(report.missing), heads_in(state)
    others = [head for head in found if head not in heads_in(targets) and head != EXO_HEAD]
    if own and others:
        return (
            f"it has no {', '.join(own)}, but {', '.join(others)}; if that is the head to take, "
            f"set {section}.CHECKPOINT_HEAD {others[0]}"
        )
    return f"{_count(report.missing)} are missing; take a file that has them"


def _count(names: Iterable[str]) -> str:
    """`12 (a, b, c, ...)`."""
    listed = list(names)
    return f"{len(listed)} ({_examples(listed)})" if listed else "0"


def _examples(names: Iterable[str]) -> str:
    listed = list(names)
    more = ", ..." if len(listed) > _EXAMPLES else ""
    return ", ".join(listed[:_EXAMPLES]) + more
