"""Weights in and out: Hugging Face folders, fairseq and torchaudio files."""
