"""Models from a hub: a look from afar, one download, and the presets that name them."""
