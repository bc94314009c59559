import base64
import re

import numpy as np
import pytest

from kerasunsup.data import images
from kerasunsup.report import page

PNG = images.encode_png(np.zeros((30, 60, 1), np.uint8))


def test_text_is_escaped_once_and_html_never():
    assert page.paragraph("a < b", page.code("x&y")) == "<p>a &lt; b <code>x&amp;y</code></p>"
    assert page.escaped(page.escaped("&")) == "&amp;"
    assert page.link("1 > 0", 'a"b', "c<d") == '<a href="a&quot;b" title="c&lt;d">1 &gt; 0</a>'
    assert page.banner("<script>") == '<p class="banner" role="note">&lt;script&gt;</p>'


def test_an_empty_paragraph_is_nothing():
    assert page.paragraph("", "") == ""


def test_a_table_aligns_numbers_right_and_names_its_rows():
    table = page.table(["", "what", "n"], [["a", "b", "1"]], words=2, caption="of <all>")
    assert '<th scope="row">a</th><td>b</td><td class="number">1</td>' in table
    assert '<th scope="col" class="number">n</th>' in table
    assert "<caption>of &lt;all&gt;</caption>" in table


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a row of 2 cells is needed, received 1"):
        page.table(["a", "b"], [["1"]])


def test_a_picture_lies_in_the_page_at_the_size_of_print():
    figure = page.figure(PNG, "two <things>", "caption")
    content = re.search(r"data:image/png;base64,([^\"]+)\"", figure)[1]
    assert base64.b64decode(content) == PNG
    assert 'width="38" height="19" alt="two &lt;things&gt;"' in figure


@pytest.mark.parametrize("content", [b"", b"GIF89a", PNG[:10], PNG[:-1]])
def test_what_is_no_png_is_refused(content):
    with pytest.raises(ValueError, match="no whole PNG"):
        page.figure(content, "", "")


def test_a_document_is_whole_and_needs_nothing_else():
    parts = [page.heading("First", "first"), page.details("more", page.paragraph("text"))]
    text = page.document("Title & more", [("first", "First")], parts)
    assert text.startswith("<!doctype html>")
    assert "<h1>Title &amp; more</h1>" in text
    assert '<a href="#first">First</a>' in text
    assert '<h2 id="first">First</h2>' in text
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(https?:)?//", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
