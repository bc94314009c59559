"""`apply cluster`, with a small untrained model."""

from apply_command import files, run, table


def test_cluster_names_a_group_for_every_image_and_compares_with_labels(
    model, folder, tmp_path, capsys
):
    output = tmp_path / "out"
    assert run("cluster", model, folder, "--clusters", 2, "--output", output) == 0
    assert {row["cluster"] for row in table(output / "clusters.csv")} == {"0", "1"}
    assert {"cluster_000_sheet.png", "cluster_001_sheet.png"} < files(output)
    assert "accuracy by labels" in capsys.readouterr().out
