"""Converts checkpoints of every readable format to .pyth or .safetensors, without a model."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from pathlib import Path

from slowfast.engine.checkpoints.checkpoint_file import CheckpointFile
from slowfast.engine.checkpoints.files import write_checkpoint
from slowfast.engine.checkpoints.formats import read_checkpoint
from slowfast.engine.checkpoints.weights import Part, Weights
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_atomically, writing
from slowfast.utils.paths import InputPath, local_path

_SUFFIXES = (".pyth", ".safetensors")


def convert_checkpoint(
    source: InputPath,
    target: Path,
    *,
    checkpoint_type: str = "pytorch",
    ego_only: bool = False,
    head: str = "",
) -> str:
    """Write the weights of `source` to `target` under published names; returns a report.

    A .pyth keeps epoch and configuration too. The optimizer state is left out.

    checkpoint_type: of the source: pytorch (also .safetensors) or caffe2.
    ego_only: leave out the exo half and the projections, which a test does not need.
    head: new name of the ego head, or OLD=NEW where the source has several.

    Raises: UserError for a source that cannot be read and for a head that it lacks.
    """
    if target.suffix not in _SUFFIXES:
        raise UserError(f"{target}: the new file must end in {' or '.join(_SUFFIXES)}")
    source = local_path(source, "IN")
    checkpoint = read_checkpoint(source, checkpoint_type, key="its path")
    kept = checkpoint.weights.ego_recognizer if ego_only else checkpoint.weights
    left_out = [part for name, part in checkpoint.weights.parts.items() if name not in kept.parts]
    if head:
        kept = _with_head(kept, head)
    _write(target, kept, checkpoint)
    return "\n".join(
        (
            f"{source} ({_mebibytes(source)}) -> {target} ({_mebibytes(target)})",
            f"kept:     {_counts(kept.parts.values())}",
            f"left out: {_counts(left_out)}",
        )
    )


def _with_head(weights: Weights, head: str) -> Weights:
    old, _, new = head.rpartition("=")
    found = weights.ego.heads
    if not old and len(found) != 1:
        raise UserError(
            f"--head {head}: {weights.source} has {len(found)} heads ({', '.join(found)}); "
            f"choose one with OLD={new}"
        )
    return weights.with_head(old or found[0], new, f"--head {head}")


def _write(target: Path, weights: Weights, checkpoint: CheckpointFile) -> None:
    if target.suffix == ".pyth":
        known = {"epoch": checkpoint.epoch, "cfg": checkpoint.cfg_text}
        kept = {key: value for key, value in known.items() if key in checkpoint.other}
        with writing(target):
            write_checkpoint(target, {**kept, "model_state": OrderedDict(weights.tensors)})
        return
    from safetensors.torch import save

    # Copies, because two names may not share memory in this format.
    data = save({name: value.contiguous().clone() for name, value in weights.tensors.items()})
    with writing(target):
        write_atomically(target, lambda file: file.write(data))


def _counts(parts: Iterable[Part]) -> str:
    """Number of weights in each part of a model, as text."""
    counts = Counter(map(_in_words, parts))
    return ", ".join(f"{count} {part}" for part, count in counts.items()) or "nothing"


def _in_words(part: Part) -> str:
    if part.kind == "head":
        return f"of head {part.module}"
    if part.kind == "projection":
        return "of projections"
    return "of the exo backbone" if part.is_exo else "of the backbone"


def _mebibytes(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.1f} MiB"
