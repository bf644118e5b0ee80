"""Training pairs in TensorBoard: a few as pictures, and the similarities of all.

Legend: N pairs of a batch, T frames, S crop side, D embedding width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from numpy.typing import NDArray
from torch import Tensor

from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.ego_exo import EgoExoDataset
from slowfast.datasets.types import ClipBatch, PairedBatch
from slowfast.engine.monitor.pictures import pair_picture
from slowfast.engine.monitor.tensorboard import ScalarWriter
from slowfast.utils import distributed

_FRAMES = 5


class PairMonitor:
    """Watches the pairs that rank 0 trains on in an epoch.

    pictures: number of pairs to draw, of the first batch of an epoch. histogram: of similarities.
    threshold: pairs with a larger similarity are aligned.
    """

    def __init__(
        self, data: EgoExoDataset, pictures: int, *, histogram: bool, threshold: float
    ) -> None:
        self._data = data
        self._number = pictures
        self._histogram = histogram
        self._threshold = threshold
        self._pictures: list[NDArray[np.uint8]] = []
        self._similarity: list[Tensor] = []

    def watch(self, batch: PairedBatch, iteration: int) -> None:
        """Record a batch on the host. iteration: of the epoch, from 0."""
        assert batch.ego.text is not None
        assert batch.exo.text is not None
        similarity = (batch.ego.text * batch.exo.text).sum(1)
        if self._histogram:
            self._similarity.append(similarity)
        # Clips without frames: no loss reads the exo view.
        if iteration == 0 and self._number and batch.exo.frames.numel():
            self._draw(batch, similarity[: self._number].tolist())

    def write(self, scalars: ScalarWriter, step: int) -> None:
        """Write the pictures and similarities of the epoch, and reset."""
        for place, picture in enumerate(self._pictures):
            scalars.add_picture(f"pairs/{place}", picture, step)
        if self._similarity:
            scalars.add_histogram("pairs/similarity", torch.cat(self._similarity).numpy(), step)
        self._pictures, self._similarity = [], []

    def _draw(self, batch: PairedBatch, similarity: list[float]) -> None:
        halves = ((batch.ego, self._data.ego), (batch.exo, self._data.exo))
        strips = [_strips(clips, half.transform, self._number) for clips, half in halves]
        narrations = [
            [half.segments[index].narration for index in clips.indices[: self._number].tolist()]
            for clips, half in halves
        ]
        for ego, exo, *texts, value in zip(*strips, *narrations, similarity, strict=True):
            used = "aligned" if value > self._threshold else "not aligned"
            below = f"similarity {value:.2f}: {used} (threshold {self._threshold:g})"
            self._pictures.append(pair_picture(ego, exo, (texts[0], texts[1]), below))


def build_pair_monitor(cfg: CfgNode, data: Any) -> PairMonitor | None:
    """The monitor of rank 0; None if there are no pairs or TENSORBOARD shows none of them."""
    pictures, histogram = cfg.TENSORBOARD.PAIRS, cfg.TENSORBOARD.HISTOGRAM.ENABLE
    wanted = cfg.TENSORBOARD.ENABLE and (pictures or histogram)
    if not (wanted and distributed.is_main() and isinstance(data, EgoExoDataset)):
        return None
    return PairMonitor(data, pictures, histogram=histogram, threshold=cfg.SUML.ALIGN.THRESHOLD)


def _strips(clips: ClipBatch, transform: DeviceTransform, count: int) -> NDArray[np.uint8]:
    """Evenly spread frames (count, F, S, S, 3) uint8 RGB of the first clips, as the model gets."""
    _, fast = transform.clips(clips.map(lambda tensor: tensor[:count]))
    chosen = np.unique(np.linspace(0, fast.shape[2] - 1, _FRAMES).round().astype(int))
    frames = fast[:, :, chosen].permute(0, 2, 3, 4, 1)
    pixels = 255 * (frames * torch.tensor(transform.std) + torch.tensor(transform.mean))
    # Stored channels are B, G, R.
    rgb = [transform.channels.index(stored) for stored in (2, 1, 0)]
    return pixels[..., rgb].round().clamp(0, 255).byte().numpy()
