"""SUM-L: semantic alignment between unpaired views for egocentric action recognition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slowfast.inference.loaded_model import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    # Imported on first use, because every module of the package imports this one.
    if name == "load_model":
        from slowfast.inference.loaded_model import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
