"""Checks before the first step of a run, and estimates of its cost."""
