"""Loader, worker processes, and the way of a batch between processes."""
