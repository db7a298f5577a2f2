"""The settings of a training run, declared by subject; ``TrainConfig`` is all of them."""
