"""What an evaluation is, and what can be concluded from its outcomes."""
