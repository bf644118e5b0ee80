"""Reads pickles without running any code of theirs."""
