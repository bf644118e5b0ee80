"""One module per data set: annotations and location of its frames."""
