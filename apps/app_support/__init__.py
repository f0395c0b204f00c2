"""What the applications share, by topic; no module here loads a framework when it is imported."""
