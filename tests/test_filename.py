"""A Space gets the file name that the user knows."""

from cases import each
from hypothesis import given, settings
from hypothesis.strategies import text

from qvq_wrapper.question.filename import safe_name


def test_kept():
    for case, name in each([
        "photo.png", "my picture (2).jpeg", "📷.png", "👨‍👩‍👧.jpg", "❤️.gif",
        "मेरी तस्वीर.png", "می‌خواهم.png", "長い名前.png", "e\u0301te\u0301.png", "ＣＭ　１.png",
        "x.pdf", "photo", "a.b.tar.gz", "a'b,c;d=e&f+g.png",
    ]):
        with case:
            assert safe_name(name) == name


def test_folders_and_what_file_systems_refuse_are_removed():
    for case, (given_name, name) in each([
        ("../../etc/a:b.png", "ab.png"),
        (r"C:\fakepath\x.png", "x.png"),
        ("a\0b\n\x1b[31m.png", "ab [31m.png"),
        ("a\u2028b\ud800.png", "a b.png"),
        ("photo\u202egnp.exe", "photognp.exe"),
        ('<>:"|?*.png', "image.png"),
        (".png", "image.png"),
        (" a .png ", "a.png"),
        ("photo. ", "photo"),
        ("..", ""), ("folder/", ""), (None, ""),
    ]):
        with case:
            assert safe_name(given_name) == name


def test_a_long_name_keeps_its_start_and_its_suffix():
    for case, (name, suffix) in each([
        ("長い名前" * 30 + ".png", ".png"), ("📷" * 100 + ".jpeg", ".jpeg"), ("x" * 300, ""),
        ("a." + "b" * 300, ""), ("a." + "b" * 260, ""), ("é" * 200 + ".tif", ".tif"),
    ]):
        with case:
            short = safe_name(name)
            assert 250 < len(short.encode()) <= 255
            assert short.endswith(suffix) and name.startswith(short.removesuffix(suffix))


@given(text())
@settings(max_examples=100, deadline=None)
def test_any_text_gives_a_name_that_can_be_written(name):
    safe = safe_name(name)
    assert len(safe.encode()) <= 255 and not set(safe) & set('/\\\0\n:"')
    assert safe_name(safe) == safe
