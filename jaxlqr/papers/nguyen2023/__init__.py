"""Nguyen, Do and Carneiro (2023), task weighting as trajectory optimisation: theory, experiments, images."""
