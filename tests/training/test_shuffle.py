"""The counter-based random numbers against published vectors; the shuffle against a loop."""

import math

import numpy as np
import pytest

from fastbp._training.shuffle import permutation, philox4x32, random_words

# Random123 1.14, examples/kat_vectors: philox4x32 10 rounds, counter, key, result
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox_gives_the_published_numbers(counter, key, result):
    rows = np.array([words(counter)] * 2, np.uint32)
    expected = [words(result)] * 2
    assert philox4x32(rows, tuple(words(key))).tolist() == expected


def test_the_layout_of_counter_and_key():
    seed, index = 0x0123456789ABCDEF, 0x1_0000_0002
    counter = np.array([[2, 1, 5, 3]], np.uint32)
    expected = philox4x32(counter, (0x89ABCDEF, 0x01234567))
    got = random_words(seed, 3, 5, np.array([index], np.uint64))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("n", [1, 2, 3, 17, 1000])
@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_permutation_is_fisher_yates(n, seed):
    for epoch in (0, 1, 7):
        order = list(range(n))
        for i in range(n - 1, 0, -1):
            low, high = random_words(seed, 0, epoch, np.array([i]))[0, :2].tolist()
            j = (low + (high << 32)) * (i + 1) >> 64
            order[i], order[j] = order[j], order[i]
        assert permutation(seed, epoch, n).tolist() == order


def test_permutations_are_uniform():
    n, epochs = 4, 6000
    counts = {}
    for epoch in range(epochs):
        key = tuple(permutation(12345, epoch, n).tolist())
        counts[key] = counts.get(key, 0) + 1
    kinds = math.factorial(n)
    assert len(counts) == kinds
    chi_squared = sum((c - epochs / kinds) ** 2 for c in counts.values()) * kinds / epochs
    # mean d and variance 2d for d degrees of freedom; with a fixed seed, 5 sigma is not chance
    d = kinds - 1
    assert chi_squared < d + 5 * math.sqrt(2 * d)
