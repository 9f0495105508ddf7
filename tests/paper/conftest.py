from pathlib import Path

import pytest
from paper_run import SSR, write_scores

from nearid.data.schema import IDENTITIES
from nearid.io.files import write_text
from nearid.io.tables import write_table
from nearid.layout import Layout

SPLITS = ["train"] * 4 + ["val"] * 10 + ["test"] * 6


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A results folder with data lists and scores, without images and tokens."""
    layout = Layout(tmp_path / "results" / "tiny")
    write_scores(layout, SSR)
    count = len(SPLITS)
    columns = {
        "row": range(count),
        "id": [100 + row for row in range(count)],
        "shard": ["000" if row < 12 else "001" for row in range(count)],
        "shard_row": [row if row < 12 else row - 12 for row in range(count)],
        "split": SPLITS,
        "class_name": ["mug"] * count,
        "category_description": ["a mug"] * count,
        "n_images": [3 if row % 2 else 2 for row in range(count)],
        "name": [f"mug {row}" for row in range(count)],
    }
    write_table(layout.identities, columns, IDENTITIES)
    write_text(layout.dropped, "name\tview\treason\ncup <script>alert(1)</script>\tview1.jpg\tno readable image\n")
    return layout
