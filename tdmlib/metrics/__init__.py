"""Distances between sets of samples, on features that say what they see."""
