"""Why an image gets its labels: how much each place of it adds to a score."""
