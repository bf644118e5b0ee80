"""Converts checkpoints of every readable format to .pyth or .safetensors, on names alone."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from slowfast.engine.checkpoints.files import write_checkpoint
from slowfast.engine.checkpoints.formats import load_checkpoint_file
from slowfast.engine.checkpoints.weight_names import (
    head_of,
    heads_in,
    is_ego,
    is_exo,
    stage_of,
    with_head,
)
from slowfast.models.published_names import EXO_HEAD
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_atomically
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

    Raises: UserError for a source that cannot be read and a head that is not there.
    """
    if target.suffix not in _SUFFIXES:
        raise UserError(f"{target}: the new file must end in {' or '.join(_SUFFIXES)}")
    source = local_path(source, "IN")
    content = load_checkpoint_file(source, checkpoint_type, key="its path")
    state: Mapping[str, Tensor] = content["model_state"]
    kept = {name: value for name, value in state.items() if is_ego(name) or not ego_only}
    if head:
        kept = _with_head(kept, head, source)
    _write(target, kept, {name: content[name] for name in ("epoch", "cfg") if name in content})
    left_out = [name for name in state if not is_ego(name)] if ego_only else []
    return "\n".join(
        (
            f"{source} ({_mebibytes(source)}) -> {target} ({_mebibytes(target)})",
            f"kept:     {_parts(kept)}",
            f"left out: {_parts(left_out)}",
        )
    )


def _with_head(state: Mapping[str, Tensor], head: str, source: Path) -> dict[str, Tensor]:
    old, _, new = head.rpartition("=")
    found = [name for name in heads_in(state) if name != EXO_HEAD]
    if not old and len(found) != 1:
        raise UserError(
            f"--head {head}: {source} has {len(found)} heads ({', '.join(found)}); "
            f"say which one with OLD={new}"
        )
    old = old or found[0]
    if old not in found:
        raise UserError(f"--head {head}: {source} has no head {old}, but {', '.join(found)}")
    return with_head(state, old, new)


def _write(target: Path, state: Mapping[str, Tensor], rest: Mapping[str, object]) -> None:
    if target.suffix == ".pyth":
        write_checkpoint(target, {**rest, "model_state": OrderedDict(state)})
        return
    from safetensors.torch import save

    data = save({name: value.contiguous() for name, value in state.items()})
    write_atomically(target, lambda file: file.write(data))


def _parts(names: Iterable[str]) -> str:
    """How many weights of which part of a model."""
    parts = Counter(_part(name) for name in names)
    return ", ".join(f"{count} {part}" for part, count in parts.items()) or "nothing"


def _part(name: str) -> str:
    if head_of(name):
        return f"of head {head_of(name)}"
    if not stage_of(name):
        return "of projections"
    return "of the exo backbone" if is_exo(name) else "of the backbone"


def _mebibytes(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.1f} MiB"
