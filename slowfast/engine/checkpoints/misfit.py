"""Explains in one line why the weights of a file do not fit a model, and what to change."""

from __future__ import annotations

import re
from collections.abc import Iterable

from slowfast.engine.checkpoints.report import (
    LoadOptions,
    LoadReport,
    Required,
    counted,
    examples,
)
from slowfast.engine.checkpoints.weights import EXO_ONLY_HEAD, Weights
from slowfast.models.published_names import EXO_HEAD

# RESNET.DEPTH by the number of blocks of s4.
_DEPTHS = {6: 50, 23: 101}
_S4_BLOCK = re.compile(r"s4(?:_t)?\.pathway0_res(\d+)\.")


def misfit(report: LoadReport, file: Weights, model: Weights, options: LoadOptions) -> str:
    """Why the model does not get what `options` requires; empty if it does."""
    if options.required is Required.NOTHING:
        return ""
    if not report.loaded:
        return (
            f"none of its {len(file.tensors)} weights ({examples(file.tensors)}) has a name and "
            "shape of the model; check the file, and CHECKPOINT_INFLATE for 2-D weights"
        )
    classes = _other_classes(report, file, model)
    if classes:
        return classes
    if options.inflate and options.required is Required.BACKBONE:
        return ""  # a 2-D network has no fast pathway, and blocks of other widths after a fusion
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
        f"its {head} has {file.class_counts(head)} classes where the configuration has "
        f"{model.class_counts(head)}; set {key} to the file's, or, to train a new head, give TASK "
        "a name of its own"
    )


def _other_architecture(report: LoadReport, file: Weights, model: Weights) -> str:
    """In words, how the backbone of the file differs; empty if it does not."""
    stages = {part for part in model.parts.values() if part.kind == "stage"}
    missing = [name for name in report.missing if model.parts[name] in stages]
    extra = [name for name in report.unexpected if file.parts[name] in stages]
    other = [name for name in report.mismatched if model.parts[name] in stages]
    if not (missing or extra or other):
        return ""
    return (
        f"of its backbone, {counted(missing)} are missing, {counted(extra)} are too many and "
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
