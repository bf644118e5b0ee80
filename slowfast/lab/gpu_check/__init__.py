"""One command that proves and measures the CUDA path in the few minutes that a GPU is there."""
