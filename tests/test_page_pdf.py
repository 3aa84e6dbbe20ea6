"""Pages of PDFs as pictures, by a real process; the words lie where the PDF was told to put them."""

import hashlib
import io
import os

import pytest
from PIL import Image, ImageChops

from rag.errors import InputNotFound, TooMuch, Unreadable
from rag.page.pdf_child import MAX_PIXELS, PAD
from rag.page.pdf_view import Quote, render
from rag.settings import IngestSettings
from tests.pdfs import HEIGHT, WIDTH, pdf

QUOTE = "The rent is due"

ODD_CHILD = """
import os, time
from rag.page import pdf_child

def odd_show(request, limits):
    wanted = request["quotes"][0]["text"]
    if wanted == "abort":
        os.abort()
    if wanted == "sleep":
        time.sleep(600)
    hoard = []
    while wanted == "eat":
        hoard.append(bytearray(b"x" * 2**22))

if __name__ == "__main__":
    pdf_child.main(odd_show)
"""


@pytest.fixture
def odd_child(tmp_path, monkeypatch):
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "odd_view_child.py").write_text(ODD_CHILD)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "odd_view_child"


def picture(view):
    return Image.open(io.BytesIO(view.png)).convert("RGB")


def boxes(view):
    return [
        (
            m.left * view.width,
            m.top * view.height,
            (m.left + m.width) * view.width,
            (m.top + m.height) * view.height,
        )
        for m in view.marks
    ]


def ink(image):
    """The box of what is black, text alone: paint is not."""
    return image.convert("L").point(lambda level: 255 if level < 100 else 0).getbbox()


def lies_in(inner, outer, spare=2):
    return all(inner[n] >= outer[n] - spare and inner[n + 2] <= outer[n + 2] + spare for n in (0, 1))


def test_the_quoted_words_are_marked_where_they_stand(tmp_path):
    path = pdf(tmp_path / "a.pdf", [(50, 500, f"First: {QUOTE} on Monday."), (50, 480, "Nothing else.")])
    view = render(path, 1, [Quote("the  rent\nis due")], 800)
    assert (view.width, view.height) == picture(view).size == (800, 1200)
    assert view.found
    (mark,) = view.marks
    assert HEIGHT - mark.top * HEIGHT == pytest.approx(510, abs=5)
    assert 75 < mark.left * WIDTH < 85
    assert mark.width * WIDTH == pytest.approx(82, abs=5)
    bare = render(path, 1, [Quote("not there")], 800)
    assert not bare.found and bare.marks == ()
    painted = ImageChops.difference(picture(view), picture(bare)).getbbox()
    assert lies_in(painted, boxes(view)[0], 800 * PAD + 1)


@pytest.mark.parametrize("crop", [None, (30, 100, 330, 580)])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_marks_lie_on_the_words_of_turned_and_cropped_pages(tmp_path, rotation, crop):
    path = pdf(tmp_path / "a.pdf", [(60, 480, QUOTE)], rotation=rotation, crop=crop)
    view = render(path, 1, [Quote(QUOTE)], 600)
    (box,) = boxes(view)
    words = ink(picture(view))
    assert lies_in(words, box)
    wide, high = (85, 15) if rotation in (0, 180) else (15, 85)
    seen = (WIDTH, HEIGHT) if not crop else (300, 480)
    scale = 600 / seen[rotation in (90, 270)]
    assert box[2] - box[0] < wide * scale and box[3] - box[1] < high * scale


def test_words_outside_of_the_crop_box_are_not_found(tmp_path):
    path = pdf(tmp_path / "a.pdf", [(60, 480, QUOTE)], crop=(0, 0, 400, 300))
    assert not render(path, 1, [Quote(QUOTE)], 600).found


def test_a_dark_page_is_painted_over(tmp_path):
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=(WIDTH, HEIGHT))
    canvas.rect(0, 0, WIDTH, HEIGHT, fill=1)
    canvas.setFillGray(1)
    canvas.drawString(60, 480, QUOTE)
    canvas.save()
    view = render(tmp_path / "a.pdf", 1, [Quote(QUOTE)], 600)
    box = boxes(view)[0]
    red, _, blue = picture(view).getpixel((round(box[0]) + 1, round(box[1]) + 1))
    assert red > blue + 40


def test_each_line_has_a_mark_of_its_own(tmp_path):
    path = pdf(
        tmp_path / "a.pdf", [(50, 500, "is due on the first day of"), (50, 484, "each calendar month.")]
    )
    assert len(render(path, 1, [Quote("the first day of each calendar")], 400).marks) == 2


def test_several_quotes_are_marked_on_one_page(tmp_path):
    path = pdf(tmp_path / "a.pdf", [(50, 500, f"First: {QUOTE} on Monday."), (50, 480, "Nothing else.")])
    view = render(path, 1, [Quote("Nothing else."), Quote("not there"), Quote(QUOTE)], 400)
    assert [round(HEIGHT - mark.top * HEIGHT) for mark in view.marks] == pytest.approx([510, 490], abs=5)


def test_the_text_in_front_tells_two_places_apart(tmp_path):
    lines = [(50, 500, "Sales"), (50, 480, "Total 5"), (50, 460, "Costs"), (50, 440, "Total 5")]
    path = pdf(tmp_path / "a.pdf", lines)
    quotes = [Quote("Total 5", "Sales "), Quote("Total 5", "Costs ")]
    first, second = (render(path, 1, [quote], 400).marks[0] for quote in quotes)
    assert first.top * HEIGHT == pytest.approx(HEIGHT - 490, abs=4)
    assert second.top * HEIGHT == pytest.approx(HEIGHT - 450, abs=4)


def test_the_right_page_is_shown_and_one_that_is_not_there_refused(tmp_path):
    path = pdf(tmp_path / "a.pdf", [(50, 500, "One")], [(50, 300, QUOTE)])
    assert not render(path, 1, [Quote(QUOTE)], 400).found
    assert render(path, 2, [Quote(QUOTE)], 400).found
    with pytest.raises(Unreadable) as refused:
        render(path, 3, [Quote(QUOTE)], 400)
    assert refused.value.message == "a.pdf has no page 3, only 2"
    assert refused.value.fix == "Open the file itself, at page 3."


def test_a_picture_has_bounds(tmp_path):
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=(500, 14_000))
    canvas.drawString(60, 480, QUOTE)
    canvas.save()
    view = render(tmp_path / "a.pdf", 1, [Quote(QUOTE)], 10**9)
    assert view.width * view.height <= MAX_PIXELS * 1.01 and view.height <= 6_001
    assert lies_in(ink(picture(view)), boxes(view)[0])
    assert render(pdf(tmp_path / "b.pdf", [(60, 480, QUOTE)]), 1, [Quote(QUOTE)], -5).width == 100


def test_a_view_is_kept_until_the_file_changes(tmp_path):
    path = pdf(tmp_path / "a.pdf", [(50, 500, QUOTE)])
    view = render(path, 1, [Quote(QUOTE)], 400)
    assert render(path, 1, [Quote(QUOTE)], 400) is view
    assert render(path, 1, [Quote("other")], 400) is not view
    pdf(path, [(50, 100, QUOTE), (50, 80, "and more")])
    assert render(path, 1, [Quote(QUOTE)], 400).marks[0].top > view.marks[0].top


def test_a_changed_or_absent_file_is_told_of(tmp_path):
    path = pdf(tmp_path / "a.pdf", [(50, 500, QUOTE)])
    id = hashlib.sha256(path.read_bytes()).hexdigest()
    assert render(path, 1, [Quote(QUOTE)], 400, document_id=id).found
    pdf(path, [(50, 500, QUOTE), (50, 480, "and more")])
    with pytest.raises(Unreadable) as changed:
        render(path, 1, [Quote(QUOTE)], 400, document_id=id)
    assert changed.value.message == "a.pdf has changed since it was ingested"
    assert "scripts/ingest.py" in changed.value.fix
    path.unlink()
    with pytest.raises(InputNotFound) as gone:
        render(path, 1, [Quote(QUOTE)], 400, document_id=id)
    assert gone.value.message.startswith("a.pdf is no longer where it was")
    assert "scripts/ingest.py" in gone.value.fix


def test_what_is_no_pdf_is_refused(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 nothing")
    with pytest.raises(Unreadable, match=r"a\.pdf is damaged"):
        render(tmp_path / "a.pdf", 1, [Quote(QUOTE)], 400)
    with pytest.raises(Unreadable, match="is no file"):
        render(tmp_path, 1, [Quote(QUOTE)], 400)


def test_a_file_over_the_limit_is_not_opened(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF" + bytes(2**20))
    with pytest.raises(TooMuch, match="is larger than 1 MiB"):
        render(path, 1, [Quote(QUOTE)], 400, settings=IngestSettings(max_file_mb=1))


def test_a_process_that_crashes_hangs_or_hoards_costs_the_view_alone(tmp_path, odd_child):
    path = pdf(tmp_path / "a.pdf", [(50, 500, QUOTE)])

    def asked(quote, **settings):
        with pytest.raises((Unreadable, TooMuch)) as refused:
            render(path, 1, [Quote(quote)], 400, settings=IngestSettings(**settings), module=odd_child)
        return refused.value

    crashed = asked("abort")
    assert "SIGABRT" in crashed.message or os.name == "nt"
    assert asked("sleep", file_seconds=1.0).message == "a.pdf took longer than 1 s"
    hoarded = asked("eat", file_memory_mb=200)
    assert hoarded.message == "a.pdf needed more than 200 MiB"
    assert hoarded.fix == "Open the file itself, at page 1."
    assert render(path, 1, [Quote(QUOTE)], 400).found
