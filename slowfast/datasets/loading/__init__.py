"""Loader, worker processes, and the path of a batch between processes."""
