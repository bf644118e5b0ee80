"""Runs the arms of an ablation over several seeds and compares them with intervals."""
