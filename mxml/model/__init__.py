"""Networks, heads, parameters, and the files of a run."""
