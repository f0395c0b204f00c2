"""Whether to believe an evaluation."""
