"""Everything here needs CUDA."""

import pytest
import torch

from tests.datasets.conftest import make_dataset, video_root

__all__ = ["make_dataset", "video_root"]


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        if "/gpu/" in str(item.path):
            item.add_marker(skip)
