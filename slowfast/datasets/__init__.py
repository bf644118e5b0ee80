"""From annotations and frames to batches."""

from slowfast.datasets.build import build_dataset, load_clip

__all__ = ["build_dataset", "load_clip"]
