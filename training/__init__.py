"""Training: recordings to episodes, action VAEs, guided fine-tuning, evaluation."""
