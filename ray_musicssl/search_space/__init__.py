"""Search spaces: YAML files that say which trials to run, read and checked before anything starts. No Ray, no torch here."""
