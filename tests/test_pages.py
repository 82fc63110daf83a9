from fer import pages


def test_tables_and_pictures_are_rendered():
    made = pages.page("Run", "# Run\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n![Matrix](data:image/png;base64,AAAA)")
    assert "<td>2</td>" in made
    assert '<img src="data:image/png;base64,AAAA" alt="Matrix"' in made


def test_nothing_is_fetched_and_nothing_runs():
    made = pages.page("<b>Run</b>", "<script>alert(1)</script> [x](javascript:alert(1)) ![y](file:///etc/passwd)")
    assert "<script" not in made
    assert 'href="javascript' not in made
    assert 'src="file' not in made
    assert "<title>&lt;b&gt;Run" in made
    assert "://" not in pages.page("Run", "text")


def test_the_browser_is_told_to_run_and_fetch_nothing():
    made = pages.document("Run", "<p>text</p>", "p { color: red; }")
    policy = made[made.index("Content-Security-Policy") :].split('content="')[1].split('"')[0]
    assert policy.split("; ") == ["default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]
    assert made.index("Content-Security-Policy") < made.index("<style>")
