"""Registries of data sets by name.

A source holds clips of one view; a joined set holds clips of both, drawn from two sources.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from slowfast.datasets.pairing.label_map import ClassNamesMissing, ClassTable
from slowfast.datasets.types import Annotations, FrameStore
from slowfast.utils.errors import UserError
from slowfast.utils.registry import Registry


class DataSource(ABC):
    """One split of one view of a data set, as a config describes it.

    cfg: the whole config. split: train, val or test. view: `ego` (DATA keys) or `exo` (EXO keys).
    frame_rate: frames per second that frame numbers count; None: those of each video.
    """

    frame_rate: float | None = None

    def __init__(self, cfg: CfgNode, split: str, view: str) -> None:
        self.cfg = cfg
        self.split = split
        self.view = view

    @abstractmethod
    def annotations(self) -> Annotations:
        """The segments of the split; frames are not accessed.

        Raises: UserError for annotations that are missing or do not fit the config.
        """

    @abstractmethod
    def frames(self, annotations: Annotations) -> FrameStore:
        """The store of the segments' frames; `FrameStore.check` searches for the files."""

    def write_down(self, folder: Path) -> None:  # noqa: B027 (optional)
        """Write what a later test needs in addition to the config into the folder of a run.

        One process calls it when a training run starts. Raises: UserError if it cannot be written.
        """

    def class_tables(self) -> tuple[ClassTable, ...]:
        """The words of every class, per head: names and synonyms.

        They map the labels of another data set to this one's classes, and name the classes of a
        zero-shot test. Raises: ClassNamesMissing if the data set has none.
        """
        raise ClassNamesMissing(
            f"data set {type(self).__name__} has no names for its classes; give it class_tables()"
        )


@dataclass(frozen=True)
class SourceSpec:
    """A registered source.

    views: the views that it supports. heads: names of the kinds of labels that its segments have,
        in order; None: those that the config names.
    """

    name: str
    source: type[DataSource]
    views: tuple[str, ...]
    heads: tuple[str, ...] | None


# Builder of a joined set: `(cfg, split) -> data set`.
JoinedBuilder = Callable[[CfgNode, str], Any]

SOURCE_REGISTRY: Registry[SourceSpec] = Registry(
    "data set", "TRAIN.DATASET", package="slowfast.datasets.sources"
)
# The sets of EXO and EXO.MORE together; no config names it.
UNION = "_exo_union"
JOINED_REGISTRY: Registry[JoinedBuilder] = Registry("joined data set", "TRAIN.DATASET")


def register_source(
    name: str, views: tuple[str, ...], heads: tuple[str, ...] | None = None
) -> Callable[[type[DataSource]], type[DataSource]]:
    """Register a DataSource under the name that a config uses; arguments as in `SourceSpec`."""

    def register(source: type[DataSource]) -> type[DataSource]:
        SOURCE_REGISTRY.add(name, SourceSpec(name, source, views, heads))
        return source

    return register


def list_names(cfg: CfgNode, split: str) -> str:
    """The ego list of a split, or several lists separated by commas, as the config names them."""
    lists = {
        "train": cfg.TRAIN.TRAIN_DATA_LIST,
        "val": cfg.TRAIN.VAL_DATA_LIST,
        "test": cfg.TEST.DATA_LIST,
    }
    return str(lists[split])


def build_source(name: str, cfg: CfgNode, split: str, view: str) -> DataSource:
    """The source that the config calls `name`, as one half of the data.

    With EXO.MORE, EXO.DATASET stands for all exo sets together.

    Raises: UserError for an unknown name, or a source that is not of that view.
    """
    key = {"ego": "EGO.DATASET", "exo": "EXO.DATASET"}[view]
    if view == "exo" and cfg.EXO.MORE and name == cfg.EXO.DATASET:
        name = UNION
    spec = SOURCE_REGISTRY.get(name, key)
    if view not in spec.views:
        fitting = [n for n in SOURCE_REGISTRY if view in SOURCE_REGISTRY.get(n).views]
        raise UserError(
            f"data set {name} has no {view} clips; set {key} to one of {', '.join(fitting)}"
        )
    return spec.source(cfg, split, view)
