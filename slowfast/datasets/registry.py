"""Data sets by the name that a config calls them by."""

from fvcore.common.registry import Registry

# Name -> builder `(cfg, split) -> data set`; split is train, val or test.
DATASET_REGISTRY: Registry = Registry("DATASET")

# Name -> reader `(cfg, split) -> Annotations`: an exo set's segments and vocabulary, no frames.
ANNOTATION_REGISTRY: Registry = Registry("ANNOTATION")
