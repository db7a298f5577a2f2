"""How numbers travel between workers, whose arrays are float32."""

import numpy as np
import pytest

from mxml.training.workers import from_digits, to_digits


@pytest.mark.parametrize("number", [0, 1, 255, 256, (1 << 24) + 1, (1 << 53) + 1, (1 << 64) - 1])
def test_a_number_arrives_exactly_between_the_others_zeros(number):
    digits = to_digits(number)
    assert (digits.dtype, digits.shape) == (np.float32, (8,))
    assert from_digits(digits + np.zeros(8, np.float32)) == number
