"""Predictions as text, JSON and CSV, on a stream or in a file that can be continued."""
