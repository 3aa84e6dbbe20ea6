"""Which files a person means by a name, a folder or a glob."""

from pathlib import Path

import pytest

from rag.pathglob import matching, nearest

FILES = [
    "/home/ann/docs/readme.md",
    "/home/ann/docs/reports/q1.pdf",
    "/home/ann/docs/reports/2024/Q2.PDF",
    "/home/ann/docs/reports/2024/notes[1].txt",
    "/home/ann/docs/old reports/q1.pdf",
]


def names(pattern, files=FILES):
    return sorted(path.removeprefix("/home/ann/docs/") for path in matching(pattern, files))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("readme.md", ["readme.md"]),
        ("README.MD", ["readme.md"]),
        ("*.pdf", ["old reports/q1.pdf", "reports/2024/Q2.PDF", "reports/q1.pdf"]),
        ("q1.pdf", ["old reports/q1.pdf", "reports/q1.pdf"]),
        ("reports/q1.pdf", ["reports/q1.pdf"]),
        ("reports/", ["reports/2024/Q2.PDF", "reports/2024/notes[1].txt", "reports/q1.pdf"]),
        ("reports", ["reports/2024/Q2.PDF", "reports/2024/notes[1].txt", "reports/q1.pdf"]),
        ("reports/*.pdf", ["reports/q1.pdf"]),
        ("reports/**/*.pdf", ["reports/2024/Q2.PDF", "reports/q1.pdf"]),
        ("notes[1].txt", ["reports/2024/notes[1].txt"]),
        ("/home/ann/docs/reports/2024", ["reports/2024/Q2.PDF", "reports/2024/notes[1].txt"]),
        ("/home/ann/docs/*.md", ["readme.md"]),
        ("/readme.md", []),
        ("eadme.md", []),
        ("!readme.md", []),
        ("", []),
        ("[", []),
    ],
)
def test_a_glob_matches_what_it_says(pattern, expected):
    assert names(pattern) == expected


def test_a_folder_that_all_share_counts_only_if_nothing_below_is_called_so():
    files = ["/srv/docs/a.md", "/srv/docs/more/docs/b.md"]
    assert matching("docs/", files) == {files[1]}
    assert matching("docs/", files[:1]) == {files[0]}


def test_a_pattern_may_begin_at_the_working_folder_or_at_home(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    files = [str(tmp_path.resolve() / "sub" / "a.md"), str(tmp_path.resolve() / "b.md")]
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert matching(".", files) == {files[0]} == matching("./*.md", files)
    assert matching("../*.md", files) == {files[1]}
    assert matching("~/sub/", files) == {files[0]}


def test_a_link_means_what_it_leads_to(tmp_path):
    real = tmp_path.resolve() / "real"
    real.mkdir()
    link = tmp_path / "link"
    try:
        link.symlink_to(real)
    except OSError:
        pytest.skip("links may not be made here")
    assert matching(str(link), [str(real / "a.md")]) == {str(real / "a.md")}


def test_accents_match_however_they_are_composed():
    assert matching("re\u0301sume\u0301.pdf", ["/a/r\u00e9sum\u00e9.pdf"])


def test_the_nearest_names_are_files_and_folders():
    assert nearest("reports/Q1.pfd", FILES) == "Nearest: q1.pdf, Q2.PDF."
    assert nearest("reprots/", FILES) == "Nearest: reports/, old reports/."
    assert nearest("zzz", FILES) == "The index has Q2.PDF, notes[1].txt, q1.pdf, readme.md."
    many = [str(Path("/x", f"{n}.md")) for n in range(9)]
    assert nearest("zzz", many) == "The index has 0.md, 1.md, 2.md, 3.md, 4.md and 4 more."
