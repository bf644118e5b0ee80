"""Facts about the classes and clips of a model's data set, without its annotations."""

from __future__ import annotations

from collections.abc import Sequence

from fvcore.common.config import CfgNode

from slowfast.config.heads import HeadSpec
from slowfast.datasets.pairing.label_map import ClassNamesMissing
from slowfast.datasets.registry import SOURCE_REGISTRY, DataSource, build_source


def class_names(cfg: CfgNode, view: str, heads: Sequence[HeadSpec]) -> dict[str, tuple[str, ...]]:
    """Per head the name of every class, by id; {} where the view's data set names no classes.

    heads: of the model. A class that the data set's table leaves out is called by its number.
    """
    try:
        tables = evaluated_source(cfg, view).class_tables()
    except ClassNamesMissing:
        return {}
    if [table.num_classes for table in tables] != [head.num_classes for head in heads]:
        return {}
    return {
        head.name: tuple(key or f"{head.name} {k}" for k, key in enumerate(table.keys))
        for head, table in zip(heads, tables, strict=True)
    }


def evaluated_source(cfg: CfgNode, view: str) -> DataSource:
    """The data set that a view is validated on: for a joined set, its half."""
    dataset = cfg.TRAIN.DATASET
    if dataset not in SOURCE_REGISTRY:
        dataset = cfg.EXO.DATASET if view == "exo" else cfg.EGO.DATASET
    return build_source(dataset, cfg, "val", view)
