"""A recogniser as one graph: from RGB frames to class probabilities, including preprocessing.

Legend: N clips, T frames of the fast pathway, A = T // alpha of the slow one, S crop side, K
classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.clips.sampling import slow_indices
from slowfast.inference.loaded_model import LoadedModel

# Key under which every exported file holds its facts, as JSON.
FACTS = "suml"


class ExportableClassifier(nn.Module):
    """uint8 RGB (N, T, S, S, 3) -> probabilities, one (N, K) per head.

    Normalises, orders the channels and gathers the slow pathway with the arithmetic of
    DeviceTransform, but without writing in place, which an exporter cannot trace.
    """

    scale: Tensor
    shift: Tensor
    slow: Tensor

    def __init__(self, model: nn.Module, transform: DeviceTransform, num_frames: int) -> None:
        super().__init__()
        self.model = model
        std = torch.tensor(transform.std, dtype=torch.float64)
        mean = torch.tensor(transform.mean, dtype=torch.float64)
        shape = (1, 3, 1, 1, 1)
        self.register_buffer("scale", (1 / (255 * std)).float().reshape(shape))
        self.register_buffer("shift", (-mean / std).float().reshape(shape))
        self.register_buffer("slow", torch.from_numpy(slow_indices(num_frames, transform.alpha)))
        # Position in RGB of each channel at the model; `channels` counts in BGR.
        self._order = [2 - stored for stored in transform.channels]

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        channels_first = frames[..., self._order].permute(0, 4, 1, 2, 3)
        fast = channels_first.float() * self.scale + self.shift
        return tuple(self.model([fast.index_select(2, self.slow), fast]))


def exportable(loaded: LoadedModel) -> ExportableClassifier:
    """The graph to export, in eval mode on the CPU."""
    settings = loaded.transform.settings
    model = ExportableClassifier(loaded.model, settings.transform, settings.sampling.num_frames)
    return model.cpu().eval()


def facts(loaded: LoadedModel) -> dict[str, Any]:
    """Facts that a user of an exported file must know, for JSON.

    `input` describes the graph's input, `normalisation` what happens inside it, `outputs` the
    scores in order.
    """
    settings = loaded.transform.settings
    sampling, transform = settings.sampling, settings.transform
    return {
        "model": loaded.cfg.MODEL.MODEL_NAME,
        "input": {
            "layout": "clips, frames, height, width, channels",
            "dtype": "uint8",
            "channel_order": "rgb",
            "frames": sampling.num_frames,
            "step": sampling.rate,
            "size": settings.geometry.test_crop,
            "crop": "short side resized to `size` bilinearly, then the centre",
        },
        "normalisation": {
            "mean": list(transform.mean),
            "std": list(transform.std),
            "channel_order": "bgr" if transform.channels == (0, 1, 2) else "rgb",
            "alpha": transform.alpha,
        },
        "outputs": [
            {
                "head": head.name,
                "activation": "sigmoid" if head.multi_label else "softmax",
                "classes": list(loaded.names[head.name]),
            }
            for head in loaded.heads
        ],
    }


def random_frames(loaded: LoadedModel, clips: int) -> Tensor:
    """Random input of the graph, uint8 RGB (N, T, S, S, 3), the same in every call."""
    settings = loaded.transform.settings
    side = settings.geometry.test_crop
    shape = (clips, settings.sampling.num_frames, side, side, 3)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
