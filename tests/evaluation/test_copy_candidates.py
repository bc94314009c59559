"""Which pictures are compared, and how they are grouped."""

import hashlib

import numpy as np

from kerasunsup.evaluation import copy_candidates


def sketches(number, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (number, 8, 8), np.uint8)
    return np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2)


def candidates(pictures):
    def unlike(pictures):
        digests = [hashlib.blake2b(p.tobytes(), digest_size=8).digest() for p in pictures]
        return np.frombuffer(b"".join(digests), np.uint64)

    shapes = np.full((len(pictures), 2), 64)
    return copy_candidates.CopyCandidates(pictures, shapes, unlike)


def test_a_moved_and_paler_copy_is_a_candidate_and_few_others_are():
    pictures = sketches(200)
    pictures[7] = np.roll(pictures[3], (1, 1), (0, 1)) * 0.8
    found = candidates(pictures)
    is_left = np.ones(200, bool)
    others = found.of(3, is_left)
    assert others[0] == 7
    assert len(others) < 20
    assert found.alike(3, others).tolist() == [7]
    is_left[7] = False
    assert 7 not in found.of(3, is_left)


def test_pale_pictures_are_candidates_though_rounding_hides_what_they_show():
    """One corner of a blank picture differs by a few levels, and JPEG rounds the rest."""
    noise = np.random.default_rng(0).integers(0, 2, (2, 32, 32))
    for depth in (4, 8, 16, 30, 50, 90):
        pictures = sketches(30)
        for number in (0, 1):
            pictures[number] = 200 + noise[number]
            pictures[number, 2:7, 25:30] -= depth + 3 * number
        found = candidates(pictures)
        assert found.alike(0, found.of(0, np.ones(30, bool))).tolist() == [1], depth


def test_every_member_is_a_copy_of_the_one_that_leads():
    """Each picture is a copy of its neighbours only: no chain is made of them."""
    pictures = np.repeat(sketches(1), 9, axis=0)

    def judge(one, others):
        for other in others:
            yield 0.1 if abs(one - other) == 1 else None

    everyone = np.ones(9, bool)
    groups = copy_candidates.star_groups(range(9), candidates(pictures), judge, everyone, everyone)
    assert groups == [(0, [(1, 0.1)]), (2, [(3, 0.1)]), (4, [(5, 0.1)]), (6, [(7, 0.1)])]


def test_a_group_may_hold_nearly_all():
    pictures = np.repeat(sketches(1), 2000, axis=0)
    calls = []

    def judge(one, others):
        calls.append(len(others))
        yield from (0.1 for _ in others)

    everyone = np.ones(2000, bool)
    groups = copy_candidates.star_groups(
        range(2000), candidates(pictures), judge, everyone, everyone
    )
    assert [(leader, len(members)) for leader, members in groups] == [(0, 1999)]
    assert sum(calls) == 1999


def test_all_near_frequencies_and_hashes_are_found(monkeypatch):
    """As by comparing all with all, in blocks of any size, and of what is left only."""
    pictures = np.repeat(sketches(40), 5, axis=0)
    changed = np.random.default_rng(1).normal(0, 12, pictures.shape)
    pictures = np.clip(pictures + changed, 0, 255).astype(np.uint8)

    def hashes(some):
        bits = some[:, ::4, ::4].reshape(len(some), -1)[:, :48] > 127
        return np.packbits(bits, axis=1).astype(np.uint64) @ (
            np.uint64(1) << np.arange(0, 48, 8, dtype=np.uint64)
        )

    monkeypatch.setattr(copy_candidates, "_BLOCK", 37)
    found = copy_candidates.CopyCandidates(pictures, np.full((200, 2), 64), hashes)
    is_left = np.arange(200) % 3 > 0
    found.keep(is_left)
    frequencies = copy_candidates._frequencies(pictures[:, 2:-2, 2:-2]).astype(np.float64)
    bits = hashes(pictures[:, 2:-2, 2:-2])
    for position in (0, 77, 199):
        moved = copy_candidates._moved(pictures[position])
        near = copy_candidates._frequencies(moved)[:, np.newaxis] - frequencies
        is_near = (np.linalg.norm(near, axis=2) <= 0.34).any(axis=0)
        differing = np.bitwise_count(hashes(moved)[:, np.newaxis] ^ bits)
        is_near |= (differing <= 7).any(axis=0)
        expected = np.flatnonzero(is_near & is_left & (np.arange(200) != position))
        assert len(expected) > 1
        assert sorted(found.of(position, is_left)) == expected.tolist()
