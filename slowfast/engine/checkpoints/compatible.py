"""Decides whether a run may resume from a checkpoint: only from one of the same experiment.

A key of the config either belongs to the experiment (another value makes it another experiment) or
is free (folders, the machine, how much is logged, the number of epochs).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from slowfast.config import get_cfg
from slowfast.config.load import leaves
from slowfast.config.published import translate
from slowfast.config.values import Setting, typed
from slowfast.engine.checkpoints.division import DIVISION_KEYS, Division
from slowfast.utils.errors import UserError
from slowfast.utils.reading import reading
from slowfast.utils.text_files import parse_yaml

logger = logging.getLogger(__name__)

# Keys and key prefixes (ending in . or _) that may change when a run is resumed. All others must
# agree.
FREE = (
    # Folders, files and initial weights, which a resumed run does not read.
    "OUTPUT_DIR",
    "TRAIN.ENABLE",
    "TRAIN.AUTO_RESUME",
    "TRAIN.RESUME",
    "TRAIN.ACCEPT_CHANGED_DATA",
    "TRAIN.CHECKPOINT_",
    "DATA.PATH_",
    "DATA.FALLBACK_PATH_PREFIXES",
    "EXO.PATH_",
    "EXO.CHECKPOINT_FILE_PATH",
    "SUML.CACHE_DIR",
    "SUML.PAIRS.FILE",
    "SUML.PAIRS.PAIRED_FILE",
    # The machine: samples and global batches do not depend on the number of processes.
    "NUM_GPUS",
    "NUM_SHARDS",
    "SHARD_ID",
    "DISTRIBUTED.",
    "DATA_LOADER.",
    "DATA.DECODER",
    # Computation: the values differ at most by rounding.
    "SOLVER.FUSED",
    "MODEL.CHANNELS_LAST",
    "MODEL.CONV_2D",
    "MODEL.SPEED_OPTIONS",
    "MODEL.COMPILE",
    "MODEL.COMPILE_MODE",
    "MODEL.RECOMPUTE_STAGES",
    # Differs by more than rounding, which is logged.
    "TRAIN.PRECISION",
    # Logging, evaluation, retention and error handling.
    "LOG_PERIOD",
    "TENSORBOARD.",
    "TRAIN.EVAL_PERIOD",
    "TRAIN.BEST_METRIC",
    "TEST.",
    "DATA.ENSEMBLE_METHOD",
    "DATA.ON_BAD_FRAME",
    "DATA.RETRIES",
    "SOLVER.SKIP_NONFINITE",
    # The number of epochs.
    "SOLVER.MAX_EPOCH",
)
# Sections that only configs of this package have.
_OURS = ("EXO.", "SUML.")


def check_resumable(
    saved_cfg_text: str,
    cfg: CfgNode,
    path: str | Path,
    *,
    saved_processes: int | None = None,
    processes: int = 1,
) -> None:
    """Refuse to resume from a checkpoint of another experiment.

    saved_cfg_text: the config (YAML) in the checkpoint at `path`. If another code base wrote it,
        its known names are compared and differences are only logged: its run cannot be
        continued exactly anyway. Text that is not a config is skipped.
    saved_processes: number of processes of the run that wrote it; None: unknown. processes: of
        this one. DIVISION_KEYS may change with it if the parts of a batch stay the same.

    Raises: UserError naming every key that must agree and does not, with both values.
    """
    now = dict(leaves(cfg))
    saved, is_ours = _saved_values(saved_cfg_text, path)
    changed = [key for key, value in saved.items() if must_agree(key) and value != now[key]]
    if is_ours and saved_processes:
        same = Division.of(saved, saved_processes) == Division.of(now, processes)
        if same:
            changed = [key for key in changed if key not in DIVISION_KEYS]
        _log_division(saved, saved_processes, now, processes, same)
    differing = [f"{key} {saved[key]!r} (now {now[key]!r})" for key in changed]
    if differing and not is_ours:
        logger.warning("%s was written by another code base, with %s", path, ", ".join(differing))
    elif differing:
        raise UserError(
            f"{path} is of a training run with {', '.join(differing)}; set the same values to "
            "resume from it, or another OUTPUT_DIR (and TRAIN.RESUME False) to start again"
        )
    precision = saved.get("TRAIN.PRECISION", cfg.TRAIN.PRECISION)
    if precision != cfg.TRAIN.PRECISION:
        logger.warning(
            "%s was trained with TRAIN.PRECISION %s, now %s: training continues, but not bit for "
            "bit",
            path,
            precision,
            cfg.TRAIN.PRECISION,
        )
    _warn_of_another_schedule(saved.get("SOLVER.MAX_EPOCH"), cfg, path)


def _log_division(
    saved: Mapping[str, Any], before: int, now: Mapping[str, Any], processes: int, same: bool
) -> None:
    """Log the effect of another number of processes."""
    key = "SOLVER.ACCUMULATE"
    if (before, saved[key]) == (processes, now[key]):
        return
    if not same:
        consequence = (
            "batches are divided into other parts, so batch-norm statistics, dropout and rounding "
            "differ; SOLVER.ACCUMULATE can keep the parts"
        )
    elif now["SUML.ENABLE"] and now["SUML.GATHER"]:
        consequence = "the parts of every batch are the same; weights differ by rounding"
    else:
        consequence = (
            "the parts of every batch are the same, and so are the bits of weights and optimizer; "
            "running batch-norm statistics are those of process 0, or the mean of its parts"
        )
    logger.info(
        "%d process(es) with %s %d, before %d with %d: %s",
        processes,
        key,
        now[key],
        before,
        saved[key],
        consequence,
    )


def must_agree(key: str) -> bool:
    """Whether a dotted key belongs to the experiment."""
    return not any(covers(entry, key) for entry in FREE)


def covers(entry: str, key: str) -> bool:
    """Whether an entry of FREE is the key or a prefix of it."""
    return key.startswith(entry) if entry.endswith((".", "_")) else key == entry


def _saved_values(text: str, path: str | Path) -> tuple[dict[str, Any], bool]:
    """Known keys of a saved config with their values, and whether this package wrote it.

    A key that this package's text lacks is newer than the text, and had its default.
    """
    defaults = dict(leaves(get_cfg()))
    settings = _settings(text, str(path))
    is_ours = any(setting.key.startswith(_OURS) for setting in settings)
    values = dict(defaults) if is_ours else {}
    unknown = []
    try:
        for setting in translate(settings, [], defaults).settings:
            if setting.key in defaults:
                values[setting.key] = typed(setting, defaults[setting.key])
            else:
                unknown.append(setting.key)
    except UserError as error:
        logger.info("the config in %s is not compared: %s", path, error)
        return {}, False
    if unknown:
        logger.info("unknown keys in the config of %s: %s", path, ", ".join(unknown))
    return values, is_ours


def _settings(text: str, origin: str) -> list[Setting]:
    try:
        with reading(origin, "a config"):
            content = parse_yaml(text)
            if isinstance(content, dict):
                return list(_flattened(content, origin))
    except UserError:
        pass
    logger.info("%s holds no config, so whether it fits this run is not checked", origin)
    return []


def _flattened(
    content: Mapping[Any, Any], origin: str, prefix: str = "", seen: set[int] | None = None
) -> Iterator[Setting]:
    """The settings of nested mappings.

    Raises: UserError for a mapping that is used twice: no config has one, and aliases of aliases
        would take forever.
    """
    seen = set() if seen is None else seen
    for name, value in content.items():
        if isinstance(value, dict):
            if id(value) in seen:
                raise UserError(f"{origin}: a section of the config is used twice")
            seen.add(id(value))
            yield from _flattened(value, origin, f"{prefix}{name}.", seen)
        elif not str(name).startswith("COMPUTED_"):
            yield Setting(f"{prefix}{name}", value, origin)


def _warn_of_another_schedule(saved_epochs: int | None, cfg: CfgNode, path: str | Path) -> None:
    epochs = cfg.SOLVER.MAX_EPOCH
    if saved_epochs not in (None, epochs) and cfg.SOLVER.LR_POLICY == "cosine":
        logger.warning(
            "%s was planned for SOLVER.MAX_EPOCH %s, now %d: the learning rate jumps to the cosine "
            "schedule of %d epochs",
            path,
            saved_epochs,
            epochs,
            epochs,
        )
