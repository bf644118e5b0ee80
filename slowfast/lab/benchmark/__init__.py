"""Measures the data engine against the published steps and against pure decoding."""
