"""Musavi and Dullerud (2023), MAML with certified step sizes: theory, experiments."""
