"""Parts of `slowfast.engine.checkpoint`: files, formats, weights and their matching."""
