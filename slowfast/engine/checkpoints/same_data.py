"""Decides whether a run may resume with the data that it finds: only with the same content.

A checkpoint stores digests of all inputs of the data sets except frames.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slowfast.datasets.build import VideoDataset
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

# Key of the digests in a checkpoint.
DATA = "data"


def data_digests(training: VideoDataset, validation: VideoDataset) -> dict[str, str]:
    """Digests of the data of a training run, by the name of the input (`training list`)."""
    digests = {f"training {name}": digest for name, digest in training.digests.items()}
    if "list" in validation.digests:
        digests["validation list"] = validation.digests["list"]
    return digests


def check_data(
    saved: Mapping[str, Any], now: Mapping[str, str], path: str | Path, *, accepted: bool
) -> None:
    """Refuse to resume from a checkpoint of a run on other data, or log what has changed.

    saved: what the checkpoint at `path` holds by key. now: `data_digests` of this run.
    accepted: TRAIN.ACCEPT_CHANGED_DATA.

    Raises: UserError naming the inputs that have changed.
    """
    before = saved.get(DATA)
    if not isinstance(before, Mapping):
        logger.info("%s holds no digests of its data, so whether they changed is not known", path)
        return
    # An input that only one of the two has is optional, or newer than the file.
    changed = [name for name in now if name in before and before[name] != now[name]]
    if not changed:
        return
    names = ", ".join(changed)
    if not accepted:
        raise UserError(
            f"{path} was trained with data that have changed since: {names}; restore them,"
            " or set TRAIN.ACCEPT_CHANGED_DATA True to resume with the new ones"
        )
    logger.warning(
        "%s was trained with other data; TRAIN.ACCEPT_CHANGED_DATA True resumes with the new %s",
        path,
        names,
    )
