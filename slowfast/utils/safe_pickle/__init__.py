"""Reader of pickles that never runs code from them."""
