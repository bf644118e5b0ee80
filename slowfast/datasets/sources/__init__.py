"""One module per data set: its annotations, and where its frames are."""
