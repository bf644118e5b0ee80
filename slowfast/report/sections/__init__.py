"""One module per section of a page: from a run to plain values for JSON."""
