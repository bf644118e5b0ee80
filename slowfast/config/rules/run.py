"""Rules on the machines and paths of a run."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path

from fvcore.common.config import CfgNode

from slowfast.utils.paths import is_remote

# Paths that are searched or written, so they must be local. Other path keys name input files,
# which may be URLs.
_LOCAL_KEYS = (
    *("OUTPUT_DIR", "SUML.CACHE_DIR", "TEST.FEATURES.DIR", "TEST.SAVE_PREDICT_PATH"),
    *("DATA.PATH_PREFIX", "DATA.FALLBACK_PATH_PREFIXES", "EXO.PATH_PREFIX"),
    *("FEATURES.EGO", "FEATURES.EXO"),
)


def shard(cfg: CfgNode) -> str | None:
    """This machine's number is one of the machines of the run."""
    if cfg.SHARD_ID >= cfg.NUM_SHARDS:
        return (
            f"SHARD_ID is {cfg.SHARD_ID} of NUM_SHARDS {cfg.NUM_SHARDS}; "
            f"machines are numbered from 0 to {cfg.NUM_SHARDS - 1}"
        )
    return None


def local_paths(cfg: CfgNode) -> str | None:
    """Paths that are searched or written are local."""
    for key in _LOCAL_KEYS:
        value = attrgetter(key)(cfg)
        for path in [value] if isinstance(value, str) else value:
            if is_remote(str(path)):
                return f"{key} is {path}, but only input files may be URLs; set it to a local path"
    return None


def predictions_below_output(cfg: CfgNode) -> str | None:
    """The predictions are written inside OUTPUT_DIR."""
    path = Path(cfg.TEST.SAVE_PREDICT_PATH)
    if not path.is_absolute() and ".." not in path.parts:
        return None
    return (
        f"TEST.SAVE_PREDICT_PATH is {path}, which may lead out of OUTPUT_DIR; name a file under"
        f" OUTPUT_DIR, such as {path.name or 'predictions.pkl'}"
    )
