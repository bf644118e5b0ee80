"""Networks: clips in, scores or features out."""
