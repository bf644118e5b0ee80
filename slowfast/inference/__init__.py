"""Trained models outside of a run: load one, label a clip, export it."""
