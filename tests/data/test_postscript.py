"""A picture that is really a PostScript program, in a Parquet file from elsewhere: no interpreter is started for it."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import EpsImagePlugin

from nearid.data.released import ReleasedTable
from nearid.io.images import ImageError, decode_grey, decode_mask, decode_rgb
from nearid.io.tables import IMAGE, image_bytes, read_table

PROGRAM = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) print showpage\n%%EOF\n"
BINARY = b"\xc5\xd0\xd3\xc6" + (30).to_bytes(4, "little") + len(PROGRAM).to_bytes(4, "little") + bytes(18) + PROGRAM


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A fake `gs` that leaves a file when it is started."""
    trace, program = tmp_path / "started", tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{trace}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", str(program))
    return trace


@pytest.mark.parametrize("content", [PROGRAM, BINARY, b"\n" + PROGRAM], ids=["text", "binary", "blank"])
@pytest.mark.parametrize("decode", [decode_rgb, decode_grey, decode_mask])
def test_no_program_is_started(tmp_path: Path, ghostscript, content, decode):
    pictures = pa.array([{"bytes": content, "path": "view.png"}], IMAGE)
    pq.write_table(pa.table({"id": [1], "images1": pictures}), tmp_path / "train.parquet")
    inside = [
        ReleasedTable(tmp_path).row(0, ["images1"])["images1"],
        read_table(tmp_path / "train.parquet")["images1"][0].as_py(),
    ]
    (tmp_path / "view.png").write_bytes(content)
    for source in (*map(image_bytes, inside), tmp_path / "view.png"):
        with pytest.raises(ImageError, match="unknown format"):
            decode(source, "train.parquet, id 1")
    assert not ghostscript.exists()
