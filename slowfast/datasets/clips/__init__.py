"""From a segment to a clip: sampling in time and space, and batches."""
