"""Checkpoint files, their formats, names and weights."""
