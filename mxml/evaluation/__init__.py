"""From scores and labels to metrics, thresholds and what a person should look at; no models."""
