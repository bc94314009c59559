"""Arrays in .npz and .npy files, usual and damaged ones."""

import gzip
import io
import zipfile

import numpy as np
import pytest
from image_sources import GOOD, idx, noise, open_stream, refusal, settings

from kerasunsup.data import batches as data_batches
from kerasunsup.data import from_arrays, pixel_storage
from kerasunsup.data import images as data_images
from kerasunsup.data import splits as data_splits
from kerasunsup.data.image_set import ImageSet
from kerasunsup.errors import InputError


def test_npz_of_images_and_labels(tmp_path):
    pixels, labels = noise(40, 9, 8), np.arange(40) % 4
    np.savez_compressed(tmp_path / "a.npz", images=pixels, labels=labels)
    splits = data_splits.load(settings(tmp_path / "a.npz"))
    assert (splits.name, splits.image_shape) == ("a", (9, 8, 1))
    everything = {image.tobytes(): label for image, label in zip(pixels, labels, strict=True)}
    for image, label in zip(splits.train.array(), splits.labels.train, strict=True):
        assert everything[data_images.to_uint8(image).tobytes()] == label


def test_npz_of_keras_keeps_its_test_set(tmp_path):
    parts = {"x_train": noise(30, 8, 8, 3), "x_test": noise(10, 8, 8, 3, seed=1)}
    labels = {"y_train": np.zeros((30, 1), np.uint8), "y_test": np.ones((10, 1), np.uint8)}
    np.savez(tmp_path / "a.npz", **parts, **labels)
    splits = data_splits.load(settings(tmp_path / "a.npz"))
    assert np.array_equal(splits.test.array(), data_images.to_unit(parts["x_test"]))
    assert splits.labels.test.tolist() == [1] * 10
    assert data_splits.load(settings(tmp_path / "a.npz", image_size=16)).image_shape == (16, 16, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npz_of_floats_stays_float(tmp_path, dtype):
    values = np.random.default_rng(0).random((20, 8, 8, 1)).astype(dtype)
    np.savez(tmp_path / "a.npz", images=values)
    splits = data_splits.load(settings(tmp_path / "a.npz"))
    known = {image.tobytes() for image in values.astype(np.float32)}
    batch = next(iter(data_batches.evaluation_batches(splits.train, 4)))[0].numpy()
    assert {image.tobytes() for image in batch} < known
    assert data_splits.load(settings(tmp_path / "a.npz", image_size=16)).train.array().max() <= 1.0


def test_labels_of_one_part_only_are_left_out_with_a_word(tmp_path, capsys):
    parts = {"x_train": noise(30, 8, 8), "x_test": noise(10, 8, 8)}
    np.savez(tmp_path / "a.npz", **parts, y_train=np.zeros(30, np.int64))
    assert data_splits.load(settings(tmp_path / "a.npz")).labels is None
    assert "left out" in capsys.readouterr().err


def test_npz_of_medmnist_has_three_splits(tmp_path, capsys):
    parts = {"train": noise(30, 8, 8, 3), "val": noise(5, 8, 8, 3), "test": noise(7, 8, 8, 3)}
    content = {f"{split}_images": pixels for split, pixels in parts.items()}
    for split, pixels in parts.items():
        content[f"{split}_labels"] = np.arange(len(pixels), dtype=np.uint8)[:, np.newaxis]
    np.savez_compressed(tmp_path / "a.npz", **content)
    splits = data_splits.load(settings(tmp_path / "a.npz"))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [30, 5, 7]
    assert np.array_equal(splits.test.array(), data_images.to_unit(parts["test"]))
    validation = data_images.to_unit(parts["val"])[splits.labels.validation]
    assert np.array_equal(splits.validation.array(), validation)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "'train_images' (train) and 'val_images' (validation)" in error
    names = open_stream(tmp_path / "a.npz").names
    assert [names[0], names[30], names[35]] == [
        "train/00000.png", "validation/00000.png", "test/00000.png"
    ]  # fmt: skip


def test_several_labels_an_image_are_left_out_with_a_word(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", images=GOOD, labels=np.ones((20, 14), np.uint8))
    assert data_splits.load(settings(tmp_path / "a.npz")).labels is None
    assert "'labels' has 14 columns, classes are left out" in capsys.readouterr().err


SPOILT = np.full((20, 8, 8), 0.5)
SPOILT[3, 2, 1] = np.nan
UNIT = data_images.to_unit(GOOD)[..., np.newaxis]
COLOUR = noise(20, 3, 8, 8)


@pytest.mark.parametrize(
    ("content", "expected", "note"),
    [
        ({"pictures": GOOD}, UNIT, "the images are 'pictures'"),
        ({"arr_0": GOOD, "arr_1": np.zeros(20, int)}, UNIT, "the images are 'arr_0'"),
        ({"images": GOOD.astype(np.int64)}, UNIT, "int64 with values up to 255 taken as 8 bits"),
        ({"images": GOOD.astype(np.uint16) * 16}, UNIT, "taken as 12 bits, 4095 is white"),
        ({"images": GOOD.astype(">u2") * 257}, UNIT, "taken as 16 bits, 65535 is white"),
        ({"images": GOOD.astype(np.float32)}, UNIT, "float32 from 0 to 255 taken as [0, 255]"),
        ({"images": GOOD / 127.5 - 1}, UNIT, "float64 from -1 to 1 taken as [-1, 1]"),
        ({"images": GOOD / 255 * 1.0005}, UNIT, ""),
        ({"images": GOOD > 127}, UNIT > 0.5, ""),
        ({"images": (GOOD > 127).astype(np.uint8)}, UNIT > 0.5, "taken as 1 bits, 1 is white"),
        ({"images": COLOUR}, data_images.to_unit(COLOUR).transpose(0, 2, 3, 1), "channels first"),
        ({"images": COLOUR[:, :1]}, data_images.to_unit(COLOUR[:, 0, ..., np.newaxis]), "first"),
        ({"x": np.full((20, 8, 8, 4), [9, 9, 9, 0], np.uint8)}, np.ones((20, 8, 8, 3)), "RGBA"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
@pytest.mark.parametrize("memory_limit", [1 << 20, 0])
def test_arrays_of_the_usual_kinds_are_taken_with_a_word(
    tmp_path, capsys, content, expected, note, suffix, memory_limit
):
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, **content)
    else:
        np.save(path, next(iter(content.values())))
        note = "" if "the images are" in note else note
    source = data_splits.read(str(path), memory_limit=memory_limit)
    kind = (
        pixel_storage.FileStore
        if suffix == ".npy" and not memory_limit
        else pixel_storage.MemoryStore
    )
    assert isinstance(source.store, kind)
    everything = ImageSet(source.store)
    assert np.abs(everything.array() - expected).max() < 0.005
    gathered = next(iter(data_batches.evaluation_batches(everything, 20)))[0].numpy()
    assert np.array_equal(gathered, everything.array())
    error = capsys.readouterr().err
    assert note in error
    assert error.count("\n") == bool(error) <= 1
    assert bool(note) or suffix == ".npz" or not error
    stream = open_stream(path)
    assert np.array_equal(
        np.stack(list(stream.read(range(20)))), data_images.to_uint8(everything.array())
    )


def test_npy_in_memory_and_on_disk_are_the_same_set(tmp_path):
    np.save(tmp_path / "a.npy", GOOD.astype(np.uint16) * 16)
    memory, disk = (
        data_splits.load(settings(tmp_path / "a.npy"), memory_limit=limit) for limit in (1 << 20, 0)
    )
    assert memory.fingerprint == disk.fingerprint
    assert (disk.name, disk.image_shape) == ("a", (8, 8, 1))
    resized = data_splits.load(settings(tmp_path / "a.npy", image_size=16), memory_limit=0)
    assert resized.image_shape == (16, 16, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([object()] * 20), "object of shape (20,)"),
        (np.zeros((20, 64), np.uint8), "uint8 of shape (20, 64)"),
        (SPOILT, "NaN"),
        (noise(20, 200, 8), "--image-size"),
    ],
)
@pytest.mark.parametrize("memory_limit", [1 << 30, 0])
def test_bad_npy_is_one_line(tmp_path, values, expected, memory_limit):
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(InputError) as caught:
        data_splits.read(str(tmp_path / "a.npy"), memory_limit=memory_limit)
    assert expected in str(caught.value)


def saved(write, *arrays_, **named) -> bytes:
    buffer = io.BytesIO()
    write(buffer, *arrays_, **named)
    return buffer.getvalue()


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut short, or with a few other bytes: anywhere, in the header, or at the end."""
    if rng.random() < 0.2:
        return content[: rng.integers(len(content))]
    spoilt = bytearray(content)
    start, stop = [(0, len(spoilt)), (0, 140), (len(spoilt) - 300, len(spoilt))][rng.integers(3)]
    for _ in range(rng.integers(1, 6)):
        text = rng.choice(list(b"0123456789(),'|<>uifOVS-{}: "))
        spoilt[rng.integers(start, stop)] = text if rng.random() < 0.5 else rng.integers(256)
    return bytes(spoilt)


@pytest.mark.parametrize(
    "name", ["stored.npz", "packed.npz", "a.npy", "f.npy", "train-images", "train-images.gz"]
)
def test_mutated_files_are_refused_or_read(tmp_path, name):
    rng = np.random.default_rng(list(name.encode()))
    named = {"train_images": GOOD, "test_images": GOOD, "train_labels": np.zeros((20, 1), int)}
    content = {
        "stored.npz": lambda: saved(np.savez, **named),
        "packed.npz": lambda: saved(np.savez_compressed, **named),
        "a.npy": lambda: saved(np.save, GOOD),
        "f.npy": lambda: saved(np.save, np.asfortranarray(GOOD.astype(">u2"))),
        "train-images": lambda: idx(GOOD),
        "train-images.gz": lambda: gzip.compress(idx(GOOD), mtime=0),
    }[name]()
    num_refused = 0
    for _ in range(60):
        (tmp_path / name).write_bytes(mutated(content, rng))
        try:
            store = data_splits.read(
                str(tmp_path / name if "." in name[:-3] else tmp_path), memory_limit=0
            )
            store.store.read(np.arange(len(store.store)))
        except InputError:  # all else is a traceback
            num_refused += 1
    assert num_refused > 10


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"pictures": GOOD, "others": GOOD}, "holds pictures, others: it needs 'images'"),
        ({"x_test": GOOD}, "holds x_test: it needs 'images'"),
        ({"x_train": GOOD, "train_images": GOOD}, "both images"),
        ({}, "holds no arrays"),
        ({"images": np.array([object()] * 20)}, "pickled"),
        ({"images": SPOILT}, "NaN"),
        ({"images": np.full((20, 8, 8), np.inf)}, "NaN or infinite"),
        ({"images": GOOD.astype(np.float32) * 4}, "goes from 0 to 1020"),
        ({"images": GOOD.astype(np.float32) / 16}, "goes from 0 to 15"),
        ({"images": GOOD / 255.0 - 0.5}, "goes from -0.5"),
        ({"images": GOOD.astype(np.int64) - 1}, "int64 from -1 to 254"),
        ({"images": GOOD.astype(np.int64) * 1000}, "int64 from 0 to 255000"),
        ({"images": GOOD.astype("U3")}, "<U3"),
        ({"images": GOOD.reshape(20, 64)}, "(20, 64)"),
        ({"images": noise(20, 8, 8, 2)}, "(20, 8, 8, 2)"),
        ({"images": noise(0, 8, 8)}, "(0, 8, 8)"),
        ({"images": GOOD, "labels": np.zeros(19, np.int64)}, "20 images and 19 labels"),
        ({"images": GOOD, "labels": np.zeros(20)}, "integers"),
        ({"images": GOOD, "labels": np.full(20, -1)}, "integers from 0"),
        ({"images": noise(20, 7, 8)}, "--image-size"),
        ({"x_train": GOOD, "x_test": noise(20, 9, 9)}, "differ"),
        ({"x_train": GOOD, "x_test": GOOD / 255.0}, "differ, uint8 and float64"),
    ],
)
def test_bad_npz_is_one_line(tmp_path, content, expected):
    path = tmp_path / "a.npz"
    np.savez(path, **content)
    assert expected in refusal(path)


def test_damaged_npz_is_one_line(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"")
    assert "damaged" in refusal(path)
    np.savez_compressed(path, images=GOOD)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refusal(path)
    path.write_bytes(whole[:200] + bytes(50) + whole[250:])
    assert "damaged" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"no array")
    assert "damaged" in refusal(path)


def test_npz_bombs_are_refused_before_reading(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=np.zeros((2000, 64, 64), np.uint8))
    monkeypatch.setattr(from_arrays, "LIMIT", 1 << 20)
    assert "unpacks to" in refusal(path)
    monkeypatch.undo()
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", buffer.getvalue() + bytes(100))
    assert "declares 784000000000 bytes" in refusal(path)
