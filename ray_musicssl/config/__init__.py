"""Every configuration section as a frozen model, torch-free; loading, overrides and saving are in `loading`."""
