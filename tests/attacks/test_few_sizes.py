"""The sizes to which batches shrink."""

import pytest

from sharedkeras.attacks.few_sizes import fitting, shrunken


@pytest.mark.parametrize("full", [1, 5, 8, 63, 250, 256, 1000])
def test_sizes_hold_the_points_and_are_few(full):
    sizes = {count: fitting(count, full) for count in range(1, full + 1)}
    assert all(count <= size <= full for count, size in sizes.items())
    assert all(size <= max(8, count + 3, 1.125 * count) for count, size in sizes.items())
    assert len(set(sizes.values())) <= 8 * max(1, full.bit_length() - 3) + 1
    assert sizes[full] == full


def test_sizes_do_not_depend_on_the_batch():
    assert fitting(41, 250) == fitting(41, 63) == fitting(41, 44) == 44
    assert [fitting(n, 1000) for n in (0, 1, 9, 65, 129, 200)] == [8, 8, 12, 72, 144, 208]


def test_a_batch_shrinks_only_where_it_saves_enough():
    assert shrunken(40, 60, 100, 2000) == 40
    assert shrunken(40, 60, 99, 2000) == 60
    assert shrunken(60, 60, 10**9, 1) == 60
