"""Which images are called copies of each other, and which are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import near_duplicates
from kerasunsup.data import images
from kerasunsup.data import splits as data_splits


def scene(random, size=32):
    """A coloured ground with three shapes."""
    ground = np.linspace(0.4, 1.0, size)[:, np.newaxis, np.newaxis] * random.integers(0, 256, 3)
    image = Image.fromarray(np.broadcast_to(ground, (size, size, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y = random.integers(0, size, 2).tolist()
        radius = int(random.integers(3, size // 2))
        colour = tuple(random.integers(0, 256, 3).tolist())
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape([x - radius, y - radius, x + radius, y + radius], fill=colour)
    return np.asarray(image)


def scenes(number, seed=0):
    random = np.random.default_rng(seed)
    return [scene(random) for _ in range(number)]


def jpeg(picture, quality=90):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return images.decode(buffer.getvalue())


def found(pictures, neighbors=10):
    """Pairs of positions, with small pictures in the place of an encoder's codes."""
    codes = np.stack([images.with_channels(images.resize(p, 6, 6), 1).ravel() for p in pictures])
    looks = np.stack([near_duplicates.look(picture) for picture in pictures])
    rows = near_duplicates.pairs(
        codes.astype(np.float32), looks, lambda rows: (pictures[row] for row in rows), neighbors
    )
    distances = [distance for *_, distance in rows]
    assert distances == sorted(distances)
    pairs = [(one, other) for one, other, _ in rows]
    assert len(set(pairs)) == len(pairs)
    return set(pairs)


@pytest.mark.parametrize("seed", range(3))
def test_every_image_with_a_jpeg_copy_is_paired_with_it_and_no_other(seed):
    originals = scenes(100, seed)
    pictures = [*originals, *map(jpeg, originals)]
    assert found(pictures) == {(number, number + 100) for number in range(100)}


@pytest.mark.parametrize("copied", [0, 1, 50, 98])
def test_copies_are_found_however_many_there_are(copied):
    originals = scenes(100)
    exact = [picture.copy() for picture in originals[:copied]]
    assert found([*originals, *exact]) == {(number, number + 100) for number in range(copied)}
    lossy = [jpeg(picture, 75) for picture in originals[:copied]]
    assert found([*originals, *lossy]) == {(number, number + 100) for number in range(copied)}


def test_all_pairs_of_eleven_identical_images_are_named():
    pictures = scenes(1) * 11
    assert found(pictures) == {(a, b) for a in range(11) for b in range(a + 1, 11)}


def test_a_group_of_many_copies_stays_together_and_small():
    pairs = found(scenes(1) * 300)
    assert len(pairs) <= 300 * 10
    reached = {0}
    for one, other in sorted(pairs):
        assert one in reached
        reached.add(other)
    assert reached == set(range(300))


def test_two_images_alone():
    one, other = scenes(2)
    assert found([one, one.copy()]) == {(0, 1)}
    assert found([one, jpeg(one)]) == {(0, 1)}
    assert found([one, other]) == set()


def test_a_grey_image_stored_in_colour_is_an_exact_copy():
    grey = scenes(1)[0][..., :1]
    looks = [near_duplicates.look(picture) for picture in (grey, np.repeat(grey, 3, axis=-1))]
    np.testing.assert_array_equal(*looks)


def test_a_smaller_copy_is_one_and_a_squeezed_one_is_not():
    picture = scene(np.random.default_rng(0), 128)
    assert near_duplicates.are_copies(picture, images.resize(picture, 96, 96))
    assert not near_duplicates.are_copies(picture, images.resize(picture, 96, 128))


def test_a_speck_and_a_faint_drawing_make_another_image():
    blank = np.full((64, 64, 1), 255, np.uint8)
    speck, faint, other = blank.copy(), blank.copy(), blank.copy()
    speck[30, 30] = 0
    faint[10:30, 10:30], other[30:50, 30:50] = 247, 247
    assert not near_duplicates.are_copies(blank, speck)
    assert not near_duplicates.are_copies(faint, other)
    assert near_duplicates.are_copies(blank, blank - 1)


def test_different_dark_images_are_no_copies_and_their_copies_are():
    """As 12 bits look in files of 16: values up to 15 of 255."""
    originals = [picture // 16 for picture in scenes(60)]
    exact = [picture.copy() for picture in originals[:20]]
    assert found([*originals, *exact]) == {(number, number + 60) for number in range(20)}


def test_different_strokes_of_the_same_digit_are_no_copies():
    splits = data_splits.load(AutoencoderSettings(limit=20_000))
    ones = splits.train.subset(np.flatnonzero(splits.labels.train == 1)[:2000])
    pictures = list(images.to_uint8(ones.array()))
    copies = [jpeg(picture[..., 0], 75) for picture in pictures[:50]]
    assert found([*pictures, *copies]) == {(number, number + 2000) for number in range(50)}
