"""Helpers for every layer: errors, logging, seeding, distributed calls, safe unpickling."""
