"""The documentation site: links, code, pictures, and that it builds without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kerasunsup as ku
from kerasunsup.models import export

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
if not (ROOT / "mkdocs.yml").exists():
    pytest.skip("the package is installed apart from its checkout", allow_module_level=True)
PAGES = sorted(DOCS.glob("*.md"))
NAVIGATION = re.findall(
    r"^ +- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.MULTILINE
)

# What the walk in docs/python.md trains, made small: the code itself runs as it stands.
SMALLER = {
    'load_images("mnist")': 'load_images("mnist", limit=1500, test_limit=300)',
    "epochs=20": "epochs=1, filters=(4,), hidden_units=16",
    "epochs=3,": "epochs=1, filters=(4,), hidden_units=16,",
    "encoder=autoencoder)": "encoder=autoencoder, graph_steps=2)",
    "ku.GAN(epochs=2)": "ku.GAN(epochs=1, base_filters=4, hidden_units=8)",
}


def headings(text: str) -> set[str]:
    """The anchors that GitHub and MkDocs both make of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", text):
        path = (page.parent / target).resolve() if target else page
        assert path.is_file(), target
        assert ROOT in path.parents
        if anchor and not anchor.startswith("kerasunsup."):  # mkdocstrings makes these
            assert anchor in headings(path.read_text(encoding="utf-8")), f"{target}#{anchor}"


def test_navigation_names_each_page_once():
    # CONTRIBUTING.md stands outside docs/ and is brought in.
    assert sorted(NAVIGATION) == sorted({page.name for page in PAGES} | {"contributing.md"})


def python_blocks(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["index.md", "python.md"])
def test_code_runs_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(DOCS / page)
    code = "\n".join(blocks)
    used = {before for before in SMALLER if before in code}
    assert used == set(SMALLER) or page == "index.md"
    for before in used:
        code = code.replace(before, SMALLER[before])
    names: dict = {}
    exec(compile(code, page, "exec"), names)  # noqa: S102 - our own page
    if page == "python.md":
        assert names["codes"].shape == (300, 32)
        assert names["images"].shape == (300, 28, 28, 1)
        assert names["restored"].shape == names["noisy"].shape == (10, 28, 28, 1)
        assert set(names["is_usual"]) <= {-1, 1}
        assert set(names["groups"]) == set(range(10))
        assert names["encoder"].serve(names["originals"][:8]).shape == (8, 32)
        np.testing.assert_array_equal(
            names["same"].transform(names["originals"]), names["codes"][:10]
        )
        assert capsys.readouterr().out.endswith("latent_dim must be at least 1, received 0\n")
        assert {path.name for path in tmp_path.iterdir()} == {
            "digits", "digits.keras", "encoder", "samples.png",
        }  # fmt: skip


def test_code_for_an_exported_model_runs(tmp_path, monkeypatch):
    (code,) = python_blocks(DOCS / "autoencoder.md")
    images = np.random.default_rng(0).random((60, 28, 28), np.float32)
    fitted = ku.Autoencoder(epochs=1, filters=(4,), hidden_units=16, verbose=0).fit(images)
    folder = tmp_path / "logs" / "ae" / "reference" / "export"
    parts = {
        "reconstruct": (fitted.model_, "images", "images"),
        "encode": (fitted.encoder_, "images", "codes"),
        "decode": (fitted.decoder_, "codes", "images"),
    }
    given = dict.fromkeys(("reconstruct", "encode"), images[:2, ..., np.newaxis])
    export.write_saved_model(folder, parts, given | {"decode": fitted.transform(images[:2])})
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "autoencoder.md", "exec"), names)  # noqa: S102 - our own page
    assert names["codes"].shape == (8, 32)
    assert names["restored"].shape == (8, 28, 28, 1)


@pytest.mark.parametrize("page", [p.name for p in PAGES if python_blocks(p)])
def test_no_code_is_left_out(page):
    assert page in ("index.md", "python.md", "autoencoder.md", "export.md")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `mkdocs build` makes it, which is strict."""
    for package in ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers.python"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("documentation") / "site"
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return folder


def test_site_has_every_page_and_loads_nothing_from_elsewhere(site):
    for page in NAVIGATION:
        assert (site / page).with_suffix(".html").is_file()
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?([^\" >]+)", text)
        loaded += re.findall(r"<link\b[^>]*\bhref=\"?([^\" >]+)", text)
        assert [address for address in loaded if "//" in address] == [], path.name
        assert 'class="mermaid"' not in text  # it would ask for a script from a network
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"url\([\"']?(?:https?:)?//", text) == [], path.name


def test_reference_shows_every_keyword_with_its_help(site):
    text = (site / "reference.html").read_text(encoding="utf-8")
    for estimator in (ku.Autoencoder, ku.GAN, ku.Classifier):
        begin = text.index(f'id="{estimator.__module__}.{estimator.__name__}"')
        section = text[begin : text.index("</h3>", begin)]
        for keyword in estimator().get_params(deep=False):
            assert f"<code>{keyword}</code>" in section, f"{estimator.__name__}: {keyword}"
    assert "give the code of an image N values" in text
    for name in ("fit", "inverse_transform", "score_samples", "cluster", "save"):
        assert f'id="kerasunsup.estimators.autoencoder.Autoencoder.{name}"' in text


def test_how_it_works_has_its_picture(site):
    text = (site / "contributing.html").read_text(encoding="utf-8")
    for name in ("report", "training", "errors"):
        assert re.search(rf"<text [^>]*>{name}</text>", text)
