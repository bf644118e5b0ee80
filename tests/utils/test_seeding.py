"""Generators depend on each of their four numbers and on nothing else."""

from itertools import product

from slowfast.utils.seeding import Stream, generator, integer_seed


def test_equal_numbers_give_equal_draws():
    assert generator(1, 2, 3, Stream.EGO).random() == generator(1, 2, 3, Stream.EGO).random()


def test_every_number_matters():
    draws = {
        integer_seed(seed, epoch, index, stream)
        for seed, epoch, index, stream in product(range(3), range(3), range(3), Stream)
    }
    assert len(draws) == 27 * len(Stream)
