"""The worker that loads and serves a model, and the parent that watches it."""
