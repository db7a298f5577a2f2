"""Bytes to pixels to a network's input; no lists, no models."""
