"""Features of segments in place of their frames (TRAIN.ON_FEATURES)."""
