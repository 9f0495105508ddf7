"""Tables and lists of people: read where there is one way to, else four lines; never a row more or less in silence."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearid.errors import UserError
from nearid.io.sheets import decode_text, one_line, plain_cell, printable, read_rows, read_sheet

ROWS = [{"subject": "mug é", "class": "mug", "description": ""}, {"subject": "b", "class": "c", "description": "d, e"}]
TEXT = 'subject,class,description\nmug é,mug\nb,c,"d, e"\n'


@pytest.fixture
def sheet(tmp_path):
    def read(content):
        path = tmp_path / "classes.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_sheet(path, ("subject", "class"), ("description",))

    return read


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        'subject;class;description\nmug é;mug;\nb;c;"d, e"\n',
        "subject\tclass\tdescription\nmug é\tmug\nb\tc\td, e\n",
        'Subject , CLASS,other,Description\nmug é,mug,1\n,,\nb,c,,"d, e"\n',
    ],
    ids=["short row", "mark", "utf-16", "crlf", "cr", "semicolons", "tabs", "case and blanks"],
)
def test_one_table_in_many_spellings(sheet, content):
    assert sheet(content) == ROWS


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (TEXT.encode("latin-1"), "no UTF-8"),
        ("subject,class\n".encode("utf-16-le"), "zero bytes"),
        ("", "the header"),
        ("name,kind\na,b\n", "the header"),
        ("subject,class\na\n", "no class"),
        ("subject,class,description\na,b,red, shiny\n", "4 cells under 3 columns"),
        ('subject,class\n"a,b\nc,d\n', "unexpected end"),
        ("subject,class,class\na,b,c\n", "two columns"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(sheet, content, found):
    with pytest.raises(UserError, match=found):
        sheet(content)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_bytes_are_rows_or_four_lines(content):
    try:
        text = decode_text(content, "a table")
        rows = list(read_rows(text, "a table", ","))
    except UserError:
        return
    filled = [row for row in csv.reader(io.StringIO(text, newline="")) if any(cell.strip() for cell in row)]
    assert len(rows) == len(filled)


@given(st.text())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_cells_are_one_line_and_no_formula(text):
    assert len(one_line(text).splitlines()) <= 1 and "\t" not in one_line(text)
    assert not plain_cell(text).startswith(("=", "+", "-", "@"))


def test_names_of_any_bytes_can_be_shown():
    assert printable(decode_text(b"th\xe9.jpg", "-", names=True)) == r"th\xe9.jpg"
