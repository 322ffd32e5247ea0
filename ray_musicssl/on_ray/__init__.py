"""The stages, on Ray. Only this package imports ray."""
