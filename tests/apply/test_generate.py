"""`apply generate`, with a small autoencoder and a small generator."""

from apply_command import files, run
from PIL import Image

from kerasunsup.models import export, networks


def test_generate_begins_alike_whatever_the_count_and_the_batch(model, tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    assert run("generate", model, "--count", 3, "--output", few) == 0
    assert run("generate", model, "--count", 5, "--batch-size", 2, "--output", many) == 0
    names = [f"images/{number:05d}.png" for number in range(5)]
    assert files(many) == {"apply.json", "generate_sheet.png", *names}
    for name in names[:3]:
        assert (few / name).read_bytes() == (many / name).read_bytes()


def test_generate_from_a_generator(tmp_path):
    generator = networks.generator((16, 16, 3), noise_dim=4, base_filters=2, categories=3)
    export.write_keras(tmp_path / "generator.keras", generator)
    output = tmp_path / "out"
    assert run("generate", tmp_path / "generator.keras", "--count", 2, "--output", output) == 0
    with Image.open(output / "images" / "00001.png") as picture:
        assert (picture.size, picture.mode) == ((16, 16), "RGB")
