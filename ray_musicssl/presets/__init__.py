"""Presets: YAML files, each a base plus the few fields that differ."""
