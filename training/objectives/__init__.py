"""What a policy is trained to predict."""
