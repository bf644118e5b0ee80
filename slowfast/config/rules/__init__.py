"""Rules on combinations of keys, one file per group of keys.

Each rule is a function of the merged config that returns the error line, or None.
"""
