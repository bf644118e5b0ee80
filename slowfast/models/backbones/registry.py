"""Families of backbones by the first part of MODEL.BACKBONE (`torchvision:r3d_18`)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType

from torch._subclasses.fake_tensor import unset_fake_temporarily

from slowfast.config.clip_geometry import GEOMETRY_REGISTRY, ClipGeometry
from slowfast.models.backbone import Backbone
from slowfast.utils.errors import UserError
from slowfast.utils.registry import Registry

# Name of a backbone, and its clips as the config has them -> the backbone, with random weights.
BuildBackbone = Callable[[str, ClipGeometry], Backbone]

BACKBONE_REGISTRY: Registry[BuildBackbone] = Registry(
    "family of backbones", "MODEL.BACKBONE", package="slowfast.models.backbones"
)


def register_family(
    family: str, geometry: Callable[[str], ClipGeometry]
) -> Callable[[BuildBackbone], BuildBackbone]:
    """Register the builder of a family. geometry: name of a backbone -> the clips it expects."""

    def register(build: BuildBackbone) -> BuildBackbone:
        GEOMETRY_REGISTRY.add(family, geometry)
        BACKBONE_REGISTRY.add(family, build)
        return build

    return register


def library(name: str, install: str) -> ModuleType:
    """Import a library. Raises: UserError with the pip command if it is not installed."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        # A torchvision that was built for another torch raises RuntimeError.
        raise UserError(
            f"MODEL.BACKBONE needs {name}, which cannot be imported ({error}); "
            f"pip install {install}"
        ) from error


def real_tensors() -> AbstractContextManager[object]:
    """Context manager for constructors of other libraries, some of which read values of tensors.

    The cost estimate runs on tensors without values; inside this context they are real.
    """
    return unset_fake_temporarily()
