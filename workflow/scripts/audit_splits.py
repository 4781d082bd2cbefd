"""Count what tasks and mixtures share, find duplicates across splits, and score metadata-only classifiers."""
