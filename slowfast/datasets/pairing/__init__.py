"""Joining of ego and exo segments: pair tables, narrations, label maps."""
