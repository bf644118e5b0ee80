"""Features of the training and the test clips under any checkpoint of a run.

Legend: n segments, F pooled channels, D embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from numpy.typing import NDArray

from slowfast.config.heads import ego_heads
from slowfast.datasets.build import VideoDataset
from slowfast.engine.testing.cross_view import (
    CrossViewLabels,
    cross_view_results,
    read_cross_view_labels,
)
from slowfast.engine.testing.feature_tasks import feature_datasets, tested_views
from slowfast.engine.testing.features import FeatureSet, extract_features
from slowfast.lab.diagnose.probe import probe_accuracy
from slowfast.utils.errors import UserError

# Names of the two inputs of a probe, and of the arrays that hold them.
PROBED = {"z_ego": "projected", "pooled": "pooled"}


@dataclass(frozen=True)
class Clips:
    """The clips of one split, seen as the test sees them.

    datasets: of each view that is embedded. labels: None if only the ego view is.
    """

    cfg: CfgNode
    datasets: Mapping[str, VideoDataset]
    labels: CrossViewLabels | None

    @classmethod
    def read(cls, cfg: CfgNode) -> Clips:
        """TEST.TASK cross_view reads both views, retrieval the ego view.

        Raises: UserError for bad data, or an ego list without labels, which the probes need.
        """
        datasets = feature_datasets(cfg)
        _check_labelled(cfg, datasets["ego"])
        if "exo" not in datasets:
            return cls(cfg, datasets, None)
        labels = read_cross_view_labels(cfg, datasets["ego"], datasets["exo"])
        return cls(cfg, datasets, labels)

    @property
    def counts(self) -> dict[str, int]:
        """Number of segments of each view."""
        return {view: len(dataset) for view, dataset in self.datasets.items()}

    def ego_classes(self, head: int) -> NDArray[np.int64]:
        """(n,) class ids of a single-label head, -1 without one."""
        labels = [segment.labels[head] for segment in self.datasets["ego"].segments]
        return np.array([ids[0] if ids else -1 for ids in labels], np.int64)

    def embed(self, checkpoint: Path, folder: Path, device: torch.device) -> dict[str, FeatureSet]:
        """The features of every view; those that `folder` has already are read from there."""
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.OUTPUT_DIR = str(folder)
        cfg.freeze()
        chunk_views = min(cfg.TEST.CHUNK_VIEWS, cfg.TEST.BATCH_SIZE)
        views = tested_views(cfg, self.datasets, checkpoint, device)
        return {view.name: extract_features(cfg, view, chunk_views, device) for view in views}

    def alignment(self, features: Mapping[str, FeatureSet]) -> dict[str, Any] | None:
        """Cross-view recall and similarity of pairs, as TEST.TASK cross_view; None for one view."""
        if self.labels is None:
            return None
        embeddings = (features[view].matrix("projected") for view in ("ego", "exo"))
        return cross_view_results(self.labels, *embeddings)


def _check_labelled(cfg: CfgNode, ego: VideoDataset) -> None:
    for place, head in enumerate(ego_heads(cfg)):
        if not head.multi_label and not any(segment.labels[place] for segment in ego.segments):
            raise UserError(
                f"TEST.DATA_LIST {cfg.TEST.DATA_LIST} has no {head.name} labels, which the probes "
                "need; set it to a labelled list"
            )


def probes(
    train: Clips,
    test: Clips,
    train_features: Mapping[str, FeatureSet],
    test_features: Mapping[str, FeatureSet],
) -> dict[str, dict[str, float]]:
    """Accuracy of linear probes by input (PROBED) and single-label ego head, in percent."""
    accuracy: dict[str, dict[str, float]] = {}
    for name, array in PROBED.items():
        x, x_test = (part["ego"].matrix(array) for part in (train_features, test_features))
        accuracy[name] = {
            head.name: probe_accuracy(x, train.ego_classes(k), x_test, test.ego_classes(k))
            for k, head in enumerate(ego_heads(train.cfg))
            if not head.multi_label
        }
    return accuracy
