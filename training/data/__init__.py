"""Training data: episode files, bags, data sets and their statistics."""
