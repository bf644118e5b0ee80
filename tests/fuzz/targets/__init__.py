"""The readers under test, one module per kind of file."""
