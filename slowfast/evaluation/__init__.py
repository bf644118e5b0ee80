"""Evaluation of scores: metrics, the EPIC-KITCHENS protocols, prediction and challenge files."""
