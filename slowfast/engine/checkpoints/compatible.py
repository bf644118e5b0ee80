"""Which checkpoints a training may go on from: those of the same experiment.

A key of the config either belongs to the experiment (another value gives another training) or is
free (where things lie, what machine it runs on, how much is logged, how long it goes on).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from slowfast.config import get_cfg
from slowfast.config.load import leaves
from slowfast.config.published import translate
from slowfast.config.values import Setting, typed
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

# Keys and sections (with a dot at the end) that may change between a run and its continuation.
FREE = (
    # Where things lie and what starts: a resumed run does not read initial weights.
    "OUTPUT_DIR",
    "TRAIN.ENABLE",
    "TRAIN.AUTO_RESUME",
    "TRAIN.RESUME",
    "TRAIN.CHECKPOINT_",
    "DATA.PATH_",
    "DATA.FALLBACK_PATH_PREFIXES",
    "EXO.PATH_",
    "EXO.CHECKPOINT_FILE_PATH",
    "SUML.CACHE_DIR",
    "SUML.PAIRS.FILE",
    # The machine: samples and global batches do not depend on the number of processes.
    "NUM_GPUS",
    "NUM_SHARDS",
    "SHARD_ID",
    "DISTRIBUTED.",
    "DATA_LOADER.",
    "DATA.DECODER",
    # How it is computed: the values differ by rounding at most.
    "SOLVER.FUSED",
    "MODEL.CHANNELS_LAST",
    "MODEL.CONV_2D",
    "MODEL.COMPILE",
    "MODEL.RECOMPUTE_STAGES",
    # What is logged, evaluated and kept, and what happens to faults.
    "LOG_PERIOD",
    "TENSORBOARD.",
    "TRAIN.EVAL_PERIOD",
    "TRAIN.BEST_METRIC",
    "TEST.",
    "DATA.ENSEMBLE_METHOD",
    "DATA.ON_BAD_FRAME",
    "DATA.RETRIES",
    "SOLVER.SKIP_NONFINITE",
    # How long it goes on.
    "SOLVER.MAX_EPOCH",
)
# Keys and sections that must agree. The longest entry of both tables that begins a key counts; a
# key that neither table covers must agree too.
FIXED = (
    "TASK",
    "RNG_SEED",
    "TRAIN.",
    "DATA.",
    "EXO.",
    "SUML.",
    "MODEL.",
    "HANDOBJ.",
    "RESNET.",
    "SLOWFAST.",
    "BN.",
    "SOLVER.",
)
# Sections that only configs of this package have.
_OURS = ("EXO.", "SUML.")


def check_resumable(saved_cfg_text: str, cfg: CfgNode, path: str | Path) -> None:
    """Refuse to go on from a checkpoint of another experiment.

    saved_cfg_text: the config (YAML) that the checkpoint at `path` holds. One of another code
        base is compared as far as its names are known, and differences are only logged: its
        training cannot be continued exactly anyhow. Text that is no config is passed over.

    Raises: UserError naming every key that must agree and does not, with both values.
    """
    now = dict(leaves(cfg))
    saved, is_ours = _saved_values(saved_cfg_text, path)
    differing = [
        f"{key} {value!r} (now {now[key]!r})"
        for key, value in saved.items()
        if must_agree(key) and value != now[key]
    ]
    if differing and not is_ours:
        logger.warning("%s is of another code base, with %s", path, ", ".join(differing))
    elif differing:
        raise UserError(
            f"{path} is of a training with {', '.join(differing)}; set the same values to go on "
            "with it, or another OUTPUT_DIR (and TRAIN.RESUME False) to start anew"
        )
    _warn_of_another_schedule(saved.get("SOLVER.MAX_EPOCH"), cfg, path)


def must_agree(key: str) -> bool:
    """Whether a dotted key belongs to the experiment."""
    return longest_entry(key, FREE) <= longest_entry(key, FIXED)


def longest_entry(key: str, table: tuple[str, ...]) -> int:
    """Length of the longest entry of FREE or FIXED that covers the key; 0: none does."""
    return max((len(entry) for entry in table if _covers(entry, key)), default=0)


def _covers(entry: str, key: str) -> bool:
    """`A.B` covers the key itself; `A.` and `A.B_` cover what begins so."""
    return key.startswith(entry) if entry.endswith((".", "_")) else key == entry


def _saved_values(text: str, path: str | Path) -> tuple[dict[str, Any], bool]:
    """Known keys of a saved config with their values; whether this package wrote it.

    A key that this package's text lacks is newer than the text, and had its default.
    """
    defaults = dict(leaves(get_cfg()))
    settings = list(_settings(text, str(path)))
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
        logger.info("keys in the config of %s that are not known: %s", path, ", ".join(unknown))
    return values, is_ours


def _settings(text: str, origin: str) -> Iterator[Setting]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        content = None
    if not isinstance(content, dict):
        logger.info("%s holds no config: that it fits this run is not checked", origin)
        return
    yield from _flattened(content, origin)


def _flattened(content: Mapping[Any, Any], origin: str, prefix: str = "") -> Iterator[Setting]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flattened(value, origin, f"{prefix}{name}.")
        elif not str(name).startswith("COMPUTED_"):
            yield Setting(f"{prefix}{name}", value, origin)


def _warn_of_another_schedule(saved_epochs: int | None, cfg: CfgNode, path: str | Path) -> None:
    epochs = cfg.SOLVER.MAX_EPOCH
    if saved_epochs not in (None, epochs) and cfg.SOLVER.LR_POLICY == "cosine":
        logger.warning(
            "%s was planned for SOLVER.MAX_EPOCH %s, now %d: the cosine of the learning rate is "
            "that of %d epochs from here on, which jumps",
            path,
            saved_epochs,
            epochs,
            epochs,
        )
