"""Networks: clips in, scores or features out."""

from slowfast.models.build import build_model, build_test_model
from slowfast.models.registry import MODEL_REGISTRY, ModelSpec, model_spec, register_model

__all__ = [
    "MODEL_REGISTRY",
    "ModelSpec",
    "build_model",
    "build_test_model",
    "model_spec",
    "register_model",
]
