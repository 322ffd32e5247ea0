"""Frozen features, the head that is fitted on them, and its scores."""
