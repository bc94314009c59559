import base64
import re

import numpy as np
import pytest

from kerasunsup.data import images
from kerasunsup.report import page
from kerasunsup.report.page import Cell, Section, Table

PNG = images.encode_png(np.zeros((30, 60, 1), np.uint8))


def rendered(*blocks: page.Block) -> str:
    """A page of these blocks alone, below the first section's title."""
    text = page.render(page.Page("Title & more", [], [Section("first", "1 > 0", "First", blocks)]))
    return text.partition('<h2 id="first">First</h2>\n')[2]


def test_every_text_is_escaped():
    text = rendered(
        page.paragraph("a < b", "", "x&y"),
        page.Notice("<script>"),
        page.Commands(["a & b", "c"]),
        page.Heading("<h3>"),
        page.Points(["1 < 2"]),
        page.Details("<more>", [Table(["<n>"], [["<cell>"]]), page.Figure(PNG, "x > y", "runs")]),
    )
    assert "<p>a &lt; b x&amp;y</p>" in text
    assert '<p class="banner" role="note">&lt;script&gt;</p>' in text
    assert '<p class="soft">Made by <code>a &amp; b</code>, <code>c</code></p>' in text
    assert "<h3>&lt;h3&gt;</h3>" in text
    assert "<li>1 &lt; 2</li>" in text
    assert "<details><summary>&lt;more&gt;</summary>" in text
    assert '<th scope="col">&lt;n&gt;</th>' in text
    assert '<th scope="row">&lt;cell&gt;</th>' in text
    assert "<figcaption>x &gt; y From" in text


def test_an_empty_paragraph_is_nothing():
    assert rendered(page.paragraph("", "")) == rendered()


def test_a_table_aligns_numbers_right_and_names_its_rows():
    text = rendered(Table(["", "what", "n"], [["a", "b", "1"]], words=2, caption="of <all>"))
    assert '<th scope="row">a</th><td>b</td><td class="number">1</td></tr>' in text
    assert '<th scope="col">what</th>' in text
    assert '<th scope="col" class="number">n</th>' in text
    assert "<caption>of &lt;all&gt;</caption>" in text


@pytest.mark.parametrize(
    ("cell", "html"),
    [
        (Cell("1 > 0", 'a"b', "c<d"), '<a href="a&#34;b" title="c&lt;d">1 &gt; 0</a>'),
        (Cell("1", "a/"), '<a href="a/">1</a>'),
        (Cell("1", "a/", deviation=Cell("2", "b/")), '<a href="a/">1</a> ± <a href="b/">2</a>'),
        (Cell("x&y", style="code"), "<code>x&amp;y</code>"),
        (page.MISSING, '<span class="soft">missing</span>'),
        (Cell(""), ""),
    ],
)
def test_a_cell_leads_to_its_run(cell, html):
    assert f'<td class="number">{html}</td>' in rendered(Table(["", "n"], [["a", cell]]))


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a row of 2 cells is needed, received 1"):
        Table(["a", "b"], [["1"]])


def test_a_picture_lies_in_the_page_at_the_size_of_print():
    text = rendered(page.Figure(PNG, "two <things>.", "logs/a"))
    content = re.search(r"data:image/png;base64,([^\"]+)\"", text)[1]
    assert base64.b64decode(content) == PNG
    assert 'width="38" height="19" alt="two &lt;things&gt;."' in text
    source = '<a href="logs/a/">logs/a</a>.</figcaption>'
    assert f"<figcaption>two &lt;things&gt;. From {source}" in text
    assert f" Drawn from {source}" in rendered(page.Figure(PNG, "", "logs/a", is_drawn_here=True))


@pytest.mark.parametrize("content", [b"", b"GIF89a", PNG[:10], PNG[:-1]])
def test_what_is_no_png_is_refused(content):
    with pytest.raises(ValueError, match="no whole PNG"):
        page.Figure(content, "", "")


def test_a_page_is_whole_and_needs_nothing_else():
    section = Section("first", "1 > 0", "First", [page.paragraph("text")])
    text = page.render(page.Page("Title & more", [page.paragraph("opening")], [section]))
    assert text.startswith("<!doctype html>")
    assert text.endswith("</html>\n")
    assert "<h1>Title &amp; more</h1>" in text
    assert '<a href="#first">1 &gt; 0</a>' in text
    assert text.index("<p>opening</p>") < text.index('<h2 id="first">First</h2>')
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(https?:)?//", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
