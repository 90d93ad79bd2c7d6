"""Policy networks; each predicts a chunk of normalised actions."""
