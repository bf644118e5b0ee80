"""Narration embeddings of one training step: the encoder, as published, and the table."""

from __future__ import annotations

import tempfile
import time

import numpy as np
import torch

from slowfast.benchmark.report import Check, Report, Table
from slowfast.benchmark.timing import interleaved, one_thread
from slowfast.datasets.narrations import NarrationTable
from slowfast.semantics.encoder import encode_cached, load_encoder

BATCH = 64
_VERBS = ("take", "put", "open", "close", "wash", "cut", "pour", "move", "turn on", "stir")
_NOUNS = ("pan", "knife", "cupboard", "tap", "onion", "plate", "drawer", "fridge", "pot", "lid")


def narrations_benchmark(encoder: str, width: int, rounds: int) -> Report:
    """Embeddings of a batch of 64 narrations.

    Raises: UserError for an encoder that is not there or is not `width` wide.
    """
    texts = [f"{verb} {noun}" for verb in _VERBS for noun in _NOUNS]
    encode = load_encoder(encoder)
    with tempfile.TemporaryDirectory() as folder:
        encode_cached(texts, encoder=encoder, folder=folder, width=width)
        table = NarrationTable.load(folder, encoder, width, texts)
    rng = np.random.default_rng(0)
    batch = [texts[position] for position in rng.integers(0, len(texts), BATCH)]
    encoded, looked_up = f"encoder, {BATCH} texts", f"table, {BATCH} texts"
    parts = {encoded: lambda: encode(batch), looked_up: lambda: table.lookup(batch)}
    with one_thread():
        seconds = interleaved(parts, rounds, time.thread_time)
    milliseconds = {name: value * 1e3 for name, value in seconds.items()}
    vectors = torch.from_numpy(encode(batch))
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    difference = float((table.lookup(batch) - vectors).abs().max())
    return Report(
        "narrations",
        [Table("narrations of one batch, one core", "processor time", milliseconds, encoded)],
        [
            Check("table against the encoder", difference, 1e-6, "of a unit vector"),
            Check("time of the look-up", milliseconds[looked_up], 1.0, "ms"),
        ],
    )
