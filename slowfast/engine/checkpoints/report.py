"""Report on loaded weights: the result for every name, and what is missing."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from slowfast.engine.checkpoints.weights import Weights
from slowfast.models.published_names import EXO_HEAD, EXO_ONLY_HEAD

_EXAMPLES = 3
# RESNET.DEPTH by the number of blocks of s4.
_DEPTHS = {6: 50, 23: 101}
_S4_BLOCK = re.compile(r"s4(?:_t)?\.pathway0_res(\d+)\.")


class Required(enum.Enum):
    """Weights that a model must get from a file; less is an error."""

    NOTHING = "nothing"
    # A training run may start with new heads and projections.
    BACKBONE = "backbone"
    # A test uses no random weight.
    ALL = "all"


class LoadOptions(NamedTuple):
    """Options of matching the weights of a file with a model's.

    head: name, in the file, of the model's own head; empty: the same name.
    inflate: turn 2-D convolutions into 3-D ones.
    section: of the config, TEST or TRAIN, whose keys errors name.
    """

    head: str = ""
    inflate: bool = False
    required: Required = Required.NOTHING
    section: str = "TEST"


class Shapes(NamedTuple):
    """The shape of one weight in the file and in the model."""

    file: tuple[int, ...]
    model: tuple[int, ...]


@dataclass
class LoadReport:
    """Result for every name of a file and of a model; all are published names.

    missing: in the model only; they keep their values. unexpected: in the file only; ignored.
    mismatched: in both, with other shapes; not loaded. unwrapped: how many names of the file had
    the prefix of a wrapper, such as `module.`.
    """

    source: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, Shapes] = field(default_factory=dict)
    unwrapped: int = 0

    def summary(self) -> str:
        """One line with the count of each kind of weight, and examples."""
        text = (
            f"{self.source}: {len(self.loaded)} weights loaded; "
            f"{counted(self.missing)} missing, which keep their initial values; "
            f"{counted(self.unexpected)} that the model does not need; "
            f"{counted(self.mismatched)} of another shape"
        )
        return f"{text}; {self.unwrapped} saved inside a wrapper" if self.unwrapped else text


def misfit(report: LoadReport, file: Weights, model: Weights, options: LoadOptions) -> str:
    """Reason why the file lacks what `options` requires; empty if it lacks nothing."""
    if options.required is Required.NOTHING:
        return ""
    if not report.loaded:
        return (
            f"none of its {len(file.tensors)} weights ({_examples(file.tensors)}) has a name and "
            "shape of the model; check the file, and CHECKPOINT_INFLATE for 2-D weights"
        )
    classes = _other_classes(report, file, model)
    if classes:
        return classes
    if options.inflate and options.required is Required.BACKBONE:
        # A 2-D network has no fast pathway, and blocks of other widths after a fusion.
        return ""
    architecture = _other_architecture(report, file, model)
    if architecture:
        return architecture
    if report.mismatched:
        return f"{counted(report.mismatched)} have another shape; use a file of this model"
    if options.required is Required.ALL and report.missing:
        return _missing(report, file, model, options.section)
    return ""


def _other_classes(report: LoadReport, file: Weights, model: Weights) -> str:
    """In words, the first head whose numbers of classes differ; empty if they agree."""
    heads = file.heads_among(
        name for name, shapes in report.mismatched.items() if shapes.file[1:] == shapes.model[1:]
    )
    if not heads:
        return ""
    head = heads[0]
    key = "MODEL.NUM_CLASSES_LIST (SlowFast: MODEL.NUM_CLASSES)"
    if head in (EXO_HEAD, EXO_ONLY_HEAD):
        key = "EXO.NUM_CLASSES_LIST"
    return (
        f"its {head} has {file.class_counts(head)} classes, but the configuration has "
        f"{model.class_counts(head)}; set {key} to the file's, or, to train a new head, give TASK "
        "another name"
    )


def _other_architecture(report: LoadReport, file: Weights, model: Weights) -> str:
    """In words, how the backbone of the file differs; empty if it does not."""
    stages = {part for part in model.parts.values() if part.kind == "stage"}
    missing = [name for name in report.missing if model.parts[name] in stages]
    extra = [name for name in report.unexpected if file.parts[name] in stages]
    other = [name for name in report.mismatched if model.parts[name] in stages]
    if not (missing or extra or other):
        return ""
    if not any(part.kind == "stage" for part in file.parts.values()):
        return (
            "it has no backbone, as after training on features (TRAIN.ON_FEATURES); use a"
            " checkpoint of a model of frames"
        )
    return (
        f"in its backbone, {counted(missing)} are missing, {counted(extra)} are unexpected and "
        f"{counted(other)} have another shape; set the RESNET and SLOWFAST keys to the file's "
        f"architecture, or use another file{_depths(file, model)}"
    )


def _depths(file: Weights, model: Weights) -> str:
    def depth(names: Iterable[str]) -> int | None:
        blocks = {matched[1] for matched in map(_S4_BLOCK.match, names) if matched}
        return _DEPTHS.get(len(blocks))

    found, configured = depth(file.tensors), depth(model.tensors)
    if None in (found, configured) or found == configured:
        return ""
    return f" (it looks like RESNET.DEPTH {found}, the configuration has {configured})"


def _missing(report: LoadReport, file: Weights, model: Weights, section: str) -> str:
    own = model.heads_among(report.missing)
    others = [head for head in file.ego.heads if head not in model.heads]
    if own and others:
        return (
            f"it has no {', '.join(own)}, but {', '.join(others)}; if that is the head to use, "
            f"set {section}.CHECKPOINT_HEAD {others[0]}"
        )
    return f"{counted(report.missing)} are missing; use a file that has them"


def counted(names: Iterable[str]) -> str:
    """`12 (a, b, c, ...)`."""
    listed = list(names)
    return f"{len(listed)} ({_examples(listed)})" if listed else "0"


def _examples(names: Iterable[str]) -> str:
    """`a, b, c, ...`."""
    listed = list(names)
    more = ", ..." if len(listed) > _EXAMPLES else ""
    return ", ".join(listed[:_EXAMPLES]) + more
