"""Narration embeddings of one training step: the encoder, as published, and the table."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence

import numpy as np
import torch
from fvcore.common.config import CfgNode

from slowfast.datasets.pairing.narrations import NarrationTable
from slowfast.lab.benchmark.report import Check, Report, Table
from slowfast.lab.benchmark.timing import interleaved, one_thread
from slowfast.semantics.build import ego_train_segments, exo_train_annotations
from slowfast.semantics.encoder import encode_cached, load_encoder

BATCH = 64
# Distinct narrations that are encoded for the measurement.
_MOST_TEXTS = 1024
_VERBS = ("take", "put", "open", "close", "wash", "cut", "pour", "move", "turn on", "stir")
_NOUNS = ("pan", "knife", "cupboard", "tap", "onion", "plate", "drawer", "fridge", "pot", "lid")


def made_texts() -> list[str]:
    return [f"{verb} {noun}" for verb in _VERBS for noun in _NOUNS]


def configured_texts(cfg: CfgNode) -> list[str]:
    """The narrations of both training lists of a config, in order, including repeats."""
    segments = (*ego_train_segments(cfg), *exo_train_annotations(cfg).segments)
    return [segment.narration for segment in segments]


def narrations_benchmark(texts: Sequence[str], encoder: str, width: int, rounds: int) -> Report:
    """Embeddings of a batch of 64 of the narrations `texts`.

    Raises: UserError for an encoder that is missing or not `width` wide.
    """
    every = list(dict.fromkeys(texts))
    rows = np.linspace(0, len(every) - 1, min(len(every), _MOST_TEXTS)).astype(np.int64)
    distinct = [every[row] for row in rows]
    encode = load_encoder(encoder)
    with tempfile.TemporaryDirectory() as folder, one_thread():
        start = time.thread_time()
        encode_cached(
            distinct, encoder=encoder, folder=folder, width=width, make_encode=lambda _: encode
        )
        once = (time.thread_time() - start) / len(distinct) * len(every)
        table = NarrationTable.load(folder, encoder, width, distinct)
    rng = np.random.default_rng(0)
    batch = [distinct[position] for position in rng.integers(0, len(distinct), BATCH)]
    encoded, looked_up = f"encoder, {BATCH} texts", f"table, {BATCH} texts"
    parts = {encoded: lambda: encode(batch), looked_up: lambda: table.vectors[table.rows(batch)]}
    with one_thread():
        milliseconds = interleaved(parts, rounds, time.thread_time)
    vectors = torch.from_numpy(encode(batch))
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    difference = float((table.vectors[table.rows(batch)] - vectors).abs().max())
    return Report(
        "narrations",
        [Table("narrations of one batch, one core", "processor time", milliseconds, encoded)],
        [
            Check("table against the encoder", difference, 1e-6, "of a unit vector"),
            Check("time of the look-up", milliseconds[looked_up], 1.0, "ms"),
        ],
        [
            f"{len(texts)} narrations, {len(every)} distinct: encoding each once takes {once:.1f} s"
            f" of one core (measured on {len(distinct)})"
        ],
    )
