"""Digests of data sets: order and content count, the place of a file does not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from slowfast.datasets.from_cfg import checked_annotations
from slowfast.datasets.identity import segments_digest, source_digests
from slowfast.datasets.registry import DataSource, build_source
from slowfast.datasets.types import ImageListAnnotations, Segment
from tests.datasets.sources import tiny_lemma
from tests.engine.tiny_models import tiny_cfg


def lemma(root: Path) -> tuple[DataSource, ImageListAnnotations]:
    counts = [len(tiny_lemma.VERBS), len(tiny_lemma.NOUNS)]
    cfg = tiny_cfg("ExoSlowFast", EXO__PATH_TO_DATA_DIR=str(root), EXO__NUM_CLASSES_LIST=counts)
    source = build_source("lemma", cfg, "train", "exo")
    annotations = checked_annotations(source)
    assert isinstance(annotations, ImageListAnnotations)
    return source, annotations


def test_order_and_content_count_and_the_place_does_not(tmp_path: Path) -> None:
    tiny_lemma.write_annotations(tmp_path / "a", splits={"train": list(tiny_lemma.SPANS)})
    source, annotations = lemma(tmp_path / "a")
    whole = source_digests(source, annotations)["list"]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert source_digests(*lemma(tmp_path / "b"))["list"] == whole

    segments = annotations.segments
    first, *others = segments
    image_paths = dict(annotations.image_paths)
    video = first.video_id
    image_paths[video] = np.roll(image_paths[video], 1)
    changes = {
        "order": replace(annotations, segments=segments[::-1]),
        "length": replace(annotations, segments=others),
        "label": replace(annotations, segments=[replace(first, labels=((0,), ())), *others]),
        "place": replace(annotations, segments=[replace(first, start_frame=2), *others]),
        "classes": replace(annotations, class_names=(("other",), ("other",))),
        "images": replace(annotations, image_paths=image_paths),
    }
    digests = {name: source_digests(source, other)["list"] for name, other in changes.items()}
    assert len({whole, *digests.values()}) == 1 + len(changes)


def test_narrations_are_not_part_of_a_list() -> None:
    """Training narrations have a separate digest, of their embeddings."""
    segment = Segment("id", "v1", "P01", 0, 9, "get cup", ((0,), (1,)))
    assert segments_digest([segment]) == segments_digest([replace(segment, narration="other")])
