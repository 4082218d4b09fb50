"""Comparisons that are no part of what is installed."""
