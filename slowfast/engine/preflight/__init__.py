"""What a run checks before its first step, and what it will cost."""
