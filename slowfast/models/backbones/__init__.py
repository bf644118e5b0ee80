"""Backbones of other libraries, one module per library; each registers its family."""
