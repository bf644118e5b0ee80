"""Pages about finished runs and runs in progress, to look at in a browser."""
