"""The action VAE: a latent space over chunks of actions."""
