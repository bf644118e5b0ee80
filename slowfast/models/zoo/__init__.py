"""One module per model: its builder, and the spec that it is registered with."""
