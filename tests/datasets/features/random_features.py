"""Random features of the segments that a SUM-L training reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fvcore.common.config import CfgNode

from slowfast.datasets.from_cfg import checked_annotations
from slowfast.datasets.registry import build_source

WIDTH, TOKENS = 24, 2


def write_features(cfg: CfgNode, folder: Path, views: int = 3) -> list[str]:
    """Write a file for every list below `folder`/VIEW; returns the overrides that train on them."""
    draw = np.random.default_rng(0)
    for view, splits in (("ego", ("train", "val")), ("exo", ("train",))):
        (folder / view).mkdir(parents=True)
        for split in splits:
            source = build_source(cfg[view.upper()].DATASET, cfg, split, view)
            ids = [segment.segment_id for segment in checked_annotations(source).segments]
            rows = draw.standard_normal((len(ids), views, TOKENS, WIDTH)).astype(np.float16)
            np.savez(folder / view / f"{split}.npz", segment_id=np.array(ids), views=rows)
    places = [(f"FEATURES.{view.upper()}", f"['{folder / view}']") for view in ("ego", "exo")]
    keys = ["TRAIN.ON_FEATURES", "True", "MODEL.BACKBONE", f"features:{WIDTH}"]
    return keys + [word for place in places for word in place]
