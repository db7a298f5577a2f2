"""Which image is in which row of which batch, against a plain model that goes through the epochs one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.data.sampling import RowsSampler, Sampler, epoch_order, uniforms
from mxml.errors import SettingError

counts = st.integers(1, 40)
sizes = st.integers(1, 12)
workers = st.integers(1, 5)


def rows_of(sampler, epoch):
    return [sampler.batch(epoch, number) for number in range(sampler.num_batches(epoch))]


@settings(deadline=None)
@given(counts, sizes, workers, st.booleans(), st.integers(0, 3))
def test_padded_shards_together_visit_every_image_once(count, size, num_parts, shuffle, epoch):
    visited, numbers = [], set()
    for part in range(num_parts):
        sampler = Sampler(count, size, shuffle=shuffle, seed=7, part_index=part, num_parts=num_parts)
        batches = rows_of(sampler, epoch)
        numbers.add(len(batches))
        for rows in batches:
            assert rows.positions.shape == (size,) and set(rows.epochs.tolist()) == {epoch}
            visited += rows.positions[: size - rows.pad].tolist()
            distinct = rows.positions[: rows.distinct]
            assert np.array_equal(rows.positions, distinct[np.arange(size) % rows.distinct])
    assert sorted(visited) == list(range(count))
    assert numbers == {math.ceil(math.ceil(count / num_parts) / size)}


@settings(deadline=None)
@given(counts, sizes, workers, st.booleans(), st.sampled_from(["pad", "discard", "roll_over"]), st.integers(0, 3))
def test_the_rows_of_all_workers_are_the_batches_of_one_process(count, size, num_parts, shuffle, last_batch, epoch):
    options = {"shuffle": shuffle, "seed": 7, "last_batch": last_batch}
    if last_batch != "pad" and count < size * num_parts:
        return
    whole = Sampler(count, size * num_parts, **options)
    parts = [RowsSampler(count, size, part_index=part, num_parts=num_parts, **options) for part in range(num_parts)]
    assert {part.num_batches(epoch) for part in parts} == {whole.num_batches(epoch)}
    for number, rows in enumerate(rows_of(whole, epoch)):
        shares = [part.batch(epoch, number) for part in parts]
        assert np.array_equal(np.concatenate([share.positions for share in shares]), rows.positions)
        assert np.array_equal(np.concatenate([share.epochs for share in shares]), rows.epochs)
        draws = whole.draws(rows, 3)
        filling = []
        for first, part, share in zip(range(0, size * num_parts, size), parts, shares):
            filling += [row >= size - share.pad for row in range(size)]
            repeated = share.positions[: share.distinct][np.arange(size) % share.distinct]
            assert np.array_equal(share.positions, repeated)
            at = np.arange(first, first + share.distinct) % rows.distinct
            assert np.array_equal(part.draws(share, 3)[: share.distinct], draws[at])
        assert filling == [row >= size * num_parts - rows.pad for row in range(size * num_parts)]


@settings(deadline=None)
@given(counts, sizes, workers, st.integers(0, 3))
def test_discarding_leaves_out_less_than_a_batch_of_each_worker(count, size, num_parts, epoch):
    visited, numbers = [], set()
    for part in range(num_parts):
        sampler = Sampler(count, size, shuffle=True, seed=7, part_index=part, num_parts=num_parts, last_batch="discard")
        batches = rows_of(sampler, epoch)
        numbers.add(len(batches))
        assert all(rows.pad == 0 for rows in batches)
        visited += [position for rows in batches for position in rows.positions.tolist()]
    assert len(set(visited)) == len(visited)
    assert numbers == {count // num_parts // size}


@settings(deadline=None)
@given(counts, sizes, workers, st.booleans())
def test_what_is_left_rolls_over_to_the_next_epoch(count, size, num_parts, shuffle):
    share = count // num_parts
    if share < size:
        return
    for part in range(num_parts):
        sampler = Sampler(
            count, size, shuffle=shuffle, seed=7, part_index=part, num_parts=num_parts, last_batch="roll_over"
        )
        left: list[tuple[int, int]] = []
        for epoch in range(6):
            first = part * count // num_parts
            left += [(epoch, i) for i in epoch_order(count, 7, epoch, shuffle)[first : first + share].tolist()]
            batches = rows_of(sampler, epoch)
            assert len(batches) == len(left) // size == sampler.num_batches(epoch)
            for rows in batches:
                assert (rows.pad, rows.distinct) == (0, size)
                assert list(zip(rows.epochs.tolist(), rows.positions.tolist())) == left[:size]
                del left[:size]
        # Any batch is the same however one came there.
        last = sampler.batch(5, 0)
        fresh = Sampler(
            count, size, shuffle=shuffle, seed=7, part_index=part, num_parts=num_parts, last_batch="roll_over"
        ).batch(5, 0)
        assert np.array_equal(last.positions, fresh.positions) and np.array_equal(last.epochs, fresh.epochs)


def test_an_image_rolled_over_keeps_the_random_numbers_of_its_epoch():
    sampler = Sampler(5, 3, shuffle=False, seed=11, last_batch="roll_over")
    rows = sampler.batch(1, 0)
    assert (rows.epochs.tolist(), rows.positions.tolist()) == ([0, 0, 1], [3, 4, 0])
    drawn = sampler.draws(rows, 4)
    assert np.array_equal(drawn[:2], uniforms(11, 0, np.array([3, 4]), 4))
    assert np.array_equal(drawn[2:], uniforms(11, 1, np.array([0]), 4))
    assert len(np.unique(drawn)) == 12


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"batch_size": 0}, "`batch_size` 0: should be at least 1"),
        ({"num_parts": 0}, "`num_parts` 0: should be at least 1"),
        ({"part_index": 2, "num_parts": 2}, "`part_index` 2: should be from 0 to 1"),
        ({"part_index": -1}, "`part_index` -1: should be from 0 to 0"),
    ],
)
def test_wrong_settings_are_named(arguments, said):
    with pytest.raises(SettingError) as caught:
        Sampler(**{"count": 4, "batch_size": 2, "shuffle": False, "seed": 0, **arguments})
    assert str(caught.value) == said
