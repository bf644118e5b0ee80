"""The training and test loops; they know no objective (tasks) and no format (datasets)."""
