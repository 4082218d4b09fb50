"""Scores on standard test sets, with the peers that stand beside our models."""
