"""Networks: clips in, scores or features out."""

from slowfast.models.build import MODEL_REGISTRY, build_model, build_test_model

__all__ = ["MODEL_REGISTRY", "build_model", "build_test_model"]
