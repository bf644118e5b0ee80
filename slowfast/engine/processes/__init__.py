"""Launch, rendezvous, signals, and the lock of OUTPUT_DIR."""
