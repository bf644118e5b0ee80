"""Meters, progress and TensorBoard."""
