"""Objectives of a training step: batch in, losses by name out. The loop knows none of them."""
