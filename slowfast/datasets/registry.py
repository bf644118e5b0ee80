"""Data sets by the name that a config calls them by."""

from fvcore.common.registry import Registry

# Name -> builder `(cfg, split) -> data set`; split is train, val or test.
DATASET_REGISTRY: Registry = Registry("DATASET")
