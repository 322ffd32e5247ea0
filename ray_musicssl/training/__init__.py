"""The sample plan, the optimiser step and checkpoints. No Ray here."""
