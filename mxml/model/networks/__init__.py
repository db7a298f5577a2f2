"""Networks by name, to be trained from random weights: which there are, their layers, first parameters and cost."""
