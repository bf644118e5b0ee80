"""Pickles: frame lists, predictions, plain values."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pandas as pd

from slowfast.datasets.sources.epic_annotations import read_segments
from slowfast.evaluation.predictions import read_predictions
from slowfast.utils.safe_pickle.load import load_dataframe, load_plain
from tests.fuzz import target
from tests.fuzz.targets.texts import FRAME_LIST

_STORED = Path(__file__).parents[2] / "utils" / "safe_pickle" / "frames"


def stored_tables(_: Path) -> list[bytes]:
    """Pickled by several versions of pandas."""
    return [path.read_bytes() for path in sorted(_STORED.glob("*.pkl"))]


def frame_lists(_: Path) -> list[bytes]:
    rows = pd.read_csv(io.BytesIO(FRAME_LIST))
    texts = pd.read_csv(io.BytesIO(FRAME_LIST), dtype=str).astype(object)
    nouns = rows.assign(all_noun_classes=[[3], [3, 4]] * 2).set_index("narration_id")
    return [pickle.dumps(table, protocol) for table in (nouns, texts) for protocol in (2, 5)]


def predictions(_: Path) -> list[bytes]:
    """The dict, and a list of one dict per segment."""
    ids = [f"P01_01_{i}" for i in range(4)]
    verbs, nouns = np.zeros((4, 3), np.float32), np.ones((4, 2), np.float32)
    whole = {"verb_output": verbs, "noun_output": nouns, "narration_id": np.array(ids)}
    rows = [
        {"verb_output": v, "noun_output": n, "narration_id": name}
        for v, n, name in zip(verbs, nouns, ids, strict=True)
    ]
    return [pickle.dumps(content, protocol) for content in (whole, rows) for protocol in (2, 4)]


def plain_values(_: Path) -> list[bytes]:
    content = {"a": [1, 2.5, "b", b"c", None, (3, {4})], "d": np.arange(6).reshape(2, 3)}
    return [pickle.dumps(content, protocol) for protocol in range(6)]


@target("table_pkl", ".pkl", stored_tables)
def read_table(path: Path) -> object:
    table = load_dataframe(path)
    return [table[column].astype(str).tolist() for column in table.columns]


@target("frame_list_pkl", ".pkl", frame_lists)
def read_frame_list(path: Path) -> object:
    return read_segments(path, epic_100=True, num_classes=[97, 300], labelled=False)


@target("predictions", ".pkl", predictions)
def read_prediction_file(path: Path) -> object:
    return read_predictions(path)


@target("plain_pickle", ".pkl", plain_values)
def read_plain(path: Path) -> object:
    return load_plain(path)
