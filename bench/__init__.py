"""Measurements of the real commands, beside others that do the same work."""
