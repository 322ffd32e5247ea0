"""Audio from any file to clips, frames and crops. No torch here: data workers start fast."""
