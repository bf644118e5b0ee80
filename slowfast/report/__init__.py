"""Pages about finished and running trainings, to look at in a browser."""
