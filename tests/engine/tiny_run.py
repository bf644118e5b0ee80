"""A test of the smallest dual model on a few small videos, with all its inputs."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode

from slowfast.datasets.pairing.label_map import readable
from slowfast.engine.tester import plan_test, test
from slowfast.models import build_model
from slowfast.models.published_names import published_state_dict
from slowfast.semantics.encoder import encode_cached
from tests.datasets.frames.tiny_videos import make_video
from tests.datasets.sources import tiny_lemma
from tests.engine.tiny_models import tiny_cfg

COLUMNS = (
    *("narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp"),
    *("stop_timestamp", "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun"),
    *("noun_class", "all_nouns", "all_noun_classes"),
)
VERBS = ("take", "put", "wash", "get", "open")
NOUNS = ("cup", "knife", "plate", "sink", "table", "tap", "board:chopping")
# (video, first frame, last frame, verb, nouns); one shorter than a clip.
SEGMENTS = (
    ("P01_01", 1, 30, 0, [0, 2]),
    ("P01_01", 5, 9, 2, [1]),
    ("P01_01", 20, 60, 1, [0]),
    ("P02_01", 3, 44, 3, [3]),
    ("P02_01", 30, 60, 0, [0]),
    ("P02_01", 11, 50, 2, [6, 1]),
    ("P01_01", 31, 58, 4, [5]),
)


def make_home(home: Path) -> Path:
    """Frames, lists, class tables, exo data and the checkpoint of a dual model below `home`."""
    for video in ("P01_01", "P02_01"):
        make_video(home / "frames" / video[:3] / video, 60)
    lists = home / "lists"
    lists.mkdir()
    with (lists / "EPIC_100_validation.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for number, (video, start, stop, verb, nouns) in enumerate(SEGMENTS):
            words = [NOUNS[noun] for noun in nouns]
            place = [f"{video}_{number}", video[:3], video, "", "0", "0", start, stop]
            text = f"{VERBS[verb]} {words[0]}"
            rows.writerow([*place, text, VERBS[verb], verb, words[0], nouns[0], words, nouns])
    for kind, words in (("verb", VERBS), ("noun", NOUNS)):
        table = [f'{i},{word},"[{word!r}]",x' for i, word in enumerate(words)]
        path = lists / f"EPIC_100_{kind}_classes.csv"
        path.write_text("\n".join(["id,key,instances,category", *table]) + "\n")
    splits = {split: list(tiny_lemma.SPANS) for split in ("train", "val", "test")}
    tiny_lemma.write_annotations(home / "lemma", splits=splits)
    tiny_lemma.write_frames(home / "lemma")
    cfg = tiny_run_cfg(home)
    torch.manual_seed(3)
    model = build_model(cfg)
    for name, weight in model.named_parameters():
        if "head." in name:  # initial heads are so small that all segments score alike
            weight.data.normal_(std=0.1)
    torch.save({"model_state": published_state_dict(model)}, home / "checkpoint.pyth")
    _fill_narration_cache(cfg)
    return home


def _fill_narration_cache(cfg: CfgNode) -> None:
    """Fill the cache with random vectors, so that no encoder is needed."""
    texts = [*VERBS, *(readable(noun) for noun in NOUNS)]
    texts += [f"{VERBS[verb]} {NOUNS[nouns[0]]}" for *_, verb, nouns in SEGMENTS]
    draw = np.random.default_rng(8)
    encode_cached(
        texts,
        encoder=cfg.SUML.ENCODER,
        folder=cfg.SUML.CACHE_DIR,
        width=cfg.SUML.EMBED_DIM,
        make_encode=lambda name: lambda some: draw.standard_normal((len(some), 8)),
    )


def tiny_run_cfg(home: Path, output: str = "run", **overrides: object) -> CfgNode:
    """A test of the dual model in `home`; keyword arguments are keys with __ for the dots."""
    settings: dict[str, object] = {
        "OUTPUT_DIR": str(home / output),
        "NUM_GPUS": 0,
        "TEST.CHECKPOINT_FILE_PATH": str(home / "checkpoint.pyth"),
        "TEST.NUM_ENSEMBLE_VIEWS": 2,
        "TEST.CHUNK_VIEWS": 4,
        "TEST.PARTIAL_SEC": 0.0,
        "DATA.EPIC_100": True,
        "DATA.PATH_TO_DATA_DIR": str(home / "lists"),
        "DATA.PATH_PREFIX": str(home / "frames"),
        "DATA.FALLBACK_PATH_PREFIXES": [],
        "DATA.NUM_FRAMES": 8,
        "DATA.TEST_CROP_SIZE": 32,
        "EXO.PATH_TO_DATA_DIR": str(home / "lemma"),
        "EXO.NUM_FRAMES": 8,
        "SUML.CACHE_DIR": str(home / "narrations"),
        "DATA_LOADER.NUM_WORKERS": 0,
        "DATA_LOADER.PIN_MEMORY": False,
    }
    cfg = tiny_cfg("EgoExoSlowFast")
    settings |= {key.replace("__", "."): value for key, value in overrides.items()}
    cfg.merge_from_list([part for item in settings.items() for part in item])
    return cfg


def run_test(cfg: CfgNode) -> None:
    """The test in this process, or in this process's part of a group."""
    torch.set_num_threads(1)
    logging.getLogger("slowfast").setLevel(logging.INFO)
    test(cfg, torch.device("cpu"), plan_test(cfg), None)
