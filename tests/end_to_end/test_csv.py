"""The rendered sample listed in CSV files for both views: the same pairs, and a training run."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode

from slowfast.config import load_config
from slowfast.datasets.from_cfg import checked_annotations
from slowfast.datasets.pairing.pairs import PairTable
from slowfast.datasets.registry import build_source
from slowfast.datasets.types import ImageListAnnotations
from slowfast.engine.preflight.check_data import check_data
from slowfast.engine.preflight.dry_run import dry_run
from slowfast.engine.preflight.run_rules import validate_run
from slowfast.engine.processes.launch import ProcessInfo
from slowfast.engine.run import run
from slowfast.semantics.build import mine_from_config
from slowfast.tasks.terms.registry import weighted_terms
from tests.commands import SHORT_RUN, SUML_TINY

COLUMNS = ("id", "video", "participant", "split", "start_frame", "stop_frame", "narration")
HEADS = ("verb", "noun")


def write(path: Path, rows: Sequence[Sequence[object]]) -> list[int]:
    """Write a list; the numbers of distinct verbs and nouns."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([(*COLUMNS, *HEADS), *rows])
    return [len({n for row in rows for n in str(row[k]).split(";") if n}) for k in (-2, -1)]


@pytest.fixture(scope="module")
def overrides(sample_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Lists of both views, written from what the readers of EPIC and LEMMA give."""
    folder = tmp_path_factory.mktemp("csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(sample_home)
        cfg = load_config(SUML_TINY)
        names = [
            table.keys for table in build_source("epickitchen", cfg, "val", "ego").class_tables()
        ]
        rows: dict[str, list[list[object]]] = {"ego": [], "exo": []}
        for view, source in (("ego", "epickitchen"), ("exo", "lemma")):
            for split in ("train", "val"):
                found = checked_annotations(build_source(source, cfg, split, view))
                words = found.class_names or names
                # Of LEMMA, frames are numbered from 0.
                first = 1 if view == "exo" else 0
                for s in found.segments:
                    labels = [
                        ";".join(w[k] for k in ids) for w, ids in zip(words, s.labels, strict=True)
                    ]
                    span = (s.start_frame + first, s.stop_frame + first)
                    place = (s.segment_id, s.video_id, s.participant_id, split, *span)
                    rows[view].append([*place, s.narration, *labels])
                if isinstance(found, ImageListAnnotations):
                    link_frames(found, sample_home / "data/sample/lemma", folder / "exo")
    counts = {view: write(folder / f"{view}.csv", listed) for view, listed in rows.items()}
    return {
        "OUTPUT_DIR": str(folder / "run"),
        **{"TRAIN.TRAIN_DATA_LIST": "ego.csv", "TRAIN.VAL_DATA_LIST": "ego.csv"},
        **{"EGO.DATASET": "csv", "EXO.DATASET": "csv", "TEST.ENABLE": False},
        **{"DATA.PATH_TO_DATA_DIR": str(folder), "EXO.PATH_TO_DATA_DIR": str(folder)},
        **{"EXO.PATH_PREFIX": str(folder / "exo"), "EXO.DATA_LIST": "exo.csv"},
        "MODEL.NUM_CLASSES_LIST": counts["ego"],
        "EXO.NUM_CLASSES_LIST": counts["exo"],
        "SUML.PAIRS.FILE": str(folder / "pairs.npz"),
        "SOLVER.MAX_EPOCH": 1,
        "DATA_LOADER.NUM_WORKERS": 0,
        "TENSORBOARD.ENABLE": False,
    }


def link_frames(found: ImageListAnnotations, root: Path, target: Path) -> None:
    """The images of the segments' videos under names of a folder of frames."""
    for video, paths in found.image_paths.items():
        if (target / video).exists():
            continue
        (target / video).mkdir(parents=True)
        for number, path in enumerate(paths):
            (target / video / f"frame_{number + 1:010d}.jpg").symlink_to(root / path.decode())


def load(overrides: dict[str, object]) -> CfgNode:
    return load_config(
        SUML_TINY, [*SHORT_RUN, *(part for item in overrides.items() for part in item)]
    )


def test_both_views_from_csv(
    sample_home: Path, overrides: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample_home)
    cfg = load(overrides)
    mine_from_config(cfg)
    own, epic = (
        PairTable.load(Path(path)) for path in (cfg.SUML.PAIRS.FILE, "data/sample/pairs.npz")
    )
    np.testing.assert_array_equal(own.indices, epic.indices)
    np.testing.assert_array_equal(own.similarity, epic.similarity)
    assert not check_data(cfg).mistakes
    assert not dry_run(cfg).mistakes
    validate_run(cfg)
    run(cfg, ProcessInfo(0, 0, 1, None, torch.device("cpu")))
    output = Path(cfg.OUTPUT_DIR)
    log = (output / "log.txt").read_text()
    assert "exo_verb" in log
    written = (output / "classes_ego.csv").read_text().splitlines()
    assert written[0] == "head,id,name"
    assert len(written) == 1 + sum(cfg.MODEL.NUM_CLASSES_LIST)


def test_exo_without_labels(
    sample_home: Path,
    overrides: dict[str, object],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The classification of exo clips is off, and the log says so."""
    monkeypatch.chdir(sample_home)
    cfg = load(overrides | {"EXO.HEAD_NAMES": [], "EXO.NUM_CLASSES_LIST": []})
    assert "EXO_CLS" not in [key for key, _, _ in weighted_terms(cfg)]
    validate_run(cfg)
    with caplog.at_level(logging.INFO):
        exo = checked_annotations(build_source("csv", cfg, "train", "exo"))
    assert exo.segments[0].labels == ()
    assert "exo train: no labels (EXO.HEAD_NAMES []), so classification is off" in caplog.text
