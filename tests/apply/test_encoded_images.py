"""The codes of many images, kept block by block."""

from apply_command import run, table

from kerasunsup.apply import result_files


def test_a_damaged_part_of_stopped_work_is_made_anew(model, folder, tmp_path, monkeypatch):
    output = tmp_path / "out"
    arguments = ["encode", model, folder, "--output", output]
    monkeypatch.setattr(
        result_files.ResultFiles, "write_codes", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert run(*arguments) == 130
    (part,) = (output / ".work").glob("images_*/*")
    part.write_bytes(part.read_bytes()[:100])
    monkeypatch.undo()
    assert run(*arguments) == 0
    assert len(table(output / "codes.csv")) == 40
