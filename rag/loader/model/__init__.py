"""What is this model? Headers and small files alone tell; no package is imported."""
