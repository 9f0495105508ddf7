"""The page in headless Chromium: no errors, it sorts, filters and opens the worst failure first; and its data."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from paper_run import PAGE, RUN, SCORERS, SOURCES, identities
from PIL import Image

from nearid.config.settings.paper import ShowIdentities
from nearid.io.files import write_text
from nearid.io.tables import read_table
from nearid.paper.browser import SIZE_PX, write_browser
from nearid.paper.manifest import about_script
from nearid.paper.page import write_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
GAP = "\N{EN DASH}"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage")
# Runs inside the loaded page, and leaves its observations where --dump-dom prints them.
WATCH = """<script>window.problems = [];
addEventListener("error", (event) => problems.push(event.message || event.target.src), true);
for (const name of ["error", "warn"]) console[name] = (...words) => problems.push(words.join(" "));</script>"""
DRIVE = """<script>addEventListener("load", async () => {
  const rows = (id) => [...document.querySelectorAll(`#${id} tbody tr`)].filter((row) => !row.hidden);
  const column = (id, place) => rows(id).map((row) => row.cells[place].textContent.trim());
  const seen = {};
  const heading = document.querySelectorAll("#table1-rows thead tr:last-child button")[1];
  heading.click(); seen.down = column("table1-rows", 1);
  heading.click(); seen.up = column("table1-rows", 1);
  seen.sort = heading.closest("th").getAttribute("aria-sort");
  const field = document.querySelector("[data-filters=table3-rows]");
  field.value = "nearid"; field.dispatchEvent(new Event("input"));
  seen.filtered = column("table3-rows", 0);
  seen.listed = [...document.querySelectorAll("#browse-list b")].map((node) => Number(node.textContent));
  seen.current = document.querySelector("#browse-list [aria-current]").textContent;
  seen.opened = document.querySelector("#browse-detail h3").textContent;
  const first = document.querySelector("#browse-list button");
  first.focus();
  first.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
  const walked = (node) => node.hasAttribute("aria-current");
  seen.walked = [...document.querySelectorAll("#browse-list button")].findIndex(walked);
  seen.focused = document.activeElement === document.querySelector("#browse-list [aria-current]");
  seen.unreachable = [...document.querySelectorAll("a, button, input, select, summary, .scroll")]
    .filter((node) => node.tabIndex < 0).length;
  document.querySelector("#browse-failures").click();
  seen.failures = document.querySelectorAll("#browse-list b").length;
  seen.costs = document.querySelectorAll("#costs tbody tr").length;
  seen.about = document.querySelector("#about").textContent;
  const images = [...document.images];
  for (const image of images) { image.loading = "eager"; }
  const settled = (image) => image.complete || new Promise((done) => { image.onload = image.onerror = done; });
  await Promise.all(images.map(settled));
  seen.images = images.length;
  seen.broken = images.filter((image) => !image.naturalWidth).map((image) => image.src);
  seen.problems = window.problems;
  const out = document.createElement("script");
  out.type = "application/json"; out.id = "seen"; out.textContent = JSON.stringify(seen);
  document.body.append(out);
});</script>"""


@pytest.fixture
def page(layout, with_images):
    """A page with everything that it loads."""
    write_browser(ShowIdentities.parse({"run": RUN}), layout)
    for name in PAGE.figures:
        path = layout.figure(name, "png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), "white").save(path)
    write_page(PAGE, layout)
    machine = {"cores": 2, "processor": "a <b>processor</b>", "gpus": []}
    cost = {"stage": "heads", "rule": "train_head", "jobs": 2, "seconds": 3.0, "cpu_seconds": 2.5, "peak_mb": 100}
    run = {"written": "today", "machine": machine, "costs": [cost]}
    beside = [{"what": "a step", "unit": "seconds", "ours": 0.5, "paper": 7.0, "why": ""}]
    effect = {"claim": "Cheap", "place": "D", "numbers": "", "holds": None, "verdict": "not tested"}
    run["cost_beside_paper"] = {"rows": beside, "effect": effect}
    result = {"code": {"commit": None, "changed": None}, "seeds": {}, "versions": {"python": "3", "torch": "2"}}
    write_text(layout.paper("provenance.js"), about_script(result, run))
    return layout


def read_index(layout):
    text = (layout.paper("identities") / "index.js").read_text()
    return json.loads(text.removeprefix("window.identities = ").removesuffix(";\n"))


def test_index_has_the_smallest_margin_of_each_identity(page):
    index = read_index(page)
    assert index["first"] == [scorer["id"] for scorer in SCORERS].index("nearid")
    test = [row for row in identities(page) if row["split"] == "test"]
    assert [entry["id"] for entry in index["identities"]] == [row["id"] for row in test]
    for number, scorer in enumerate(SCORERS):
        rows = {
            (row["id"], row["source"]): row for row in read_table(page.scores(scorer["id"], "nearid_bench")).to_pylist()
        }
        for entry in index["identities"]:
            for source, told in zip(SOURCES, entry["worst"][number], strict=True):
                row = rows[entry["id"], source["id"]]
                slow = [
                    row[f"sim_{i}{j}"] - row[f"cross_{k}{k}"]
                    for i, j in ((0, 1), (0, 2), (1, 2))
                    for k in (i, j)
                    if not np.isnan(row[f"sim_{i}{j}"])
                ]
                assert told[0] == pytest.approx(min(slow), abs=1e-4)
                assert told[1] - told[2] == pytest.approx(told[0], abs=2e-4)


def test_strips_show_views_above_and_each_source_below(page):
    row = next(row for row in identities(page) if row["split"] == "test" and row["n_images"] == 2)
    with Image.open(page.paper("identities") / f"{row['id']}.jpg") as image:
        strip = np.asarray(image)
    assert strip.shape == ((1 + len(SOURCES)) * SIZE_PX, 3 * SIZE_PX, 3)
    middle = SIZE_PX // 2
    assert abs(int(strip[middle, middle, 0]) - 40) < 4 and abs(int(strip[SIZE_PX + middle, middle, 0]) - 200) < 4
    # No third view, and no distractor of the third source.
    assert strip[middle, 2 * SIZE_PX + middle, 0] > 250 and strip[3 * SIZE_PX + middle, middle, 0] > 250


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_page_works_in_a_browser(page, tmp_path):
    path = page.paper("index.html")
    text = path.read_text().replace("<head>", f"<head>{WATCH}", 1).replace("</body>", f"{DRIVE}</body>")
    path.write_text(text)
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"]
    command += ["--enable-logging=stderr", "--window-size=1000,900", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    found = re.search(r'<script type="application/json" id="seen">(.*?)</script>', done.stdout, re.DOTALL)
    assert found, done.stderr[-3000:]
    seen = json.loads(found[1])
    assert seen["problems"] == [] and ":CONSOLE" not in done.stderr
    numbers = [float(text.split()[0]) for text in seen["down"] if not text.startswith(GAP)]
    gaps = len(seen["down"]) - len(numbers)
    assert numbers == sorted(numbers, reverse=True) and len(numbers) == len(SCORERS)
    ascending = [float(text.split()[0]) for text in seen["up"][: len(numbers)]]
    assert ascending == sorted(numbers) and gaps == 0 and seen["sort"] == "ascending"
    # A row without any value is named in a note.
    assert seen["filtered"] == ["NearID"]
    index = read_index(page)
    worst = {
        entry["name"]: min(margins[0] for margins in entry["worst"][index["first"]] if margins)
        for entry in index["identities"]
    }
    assert seen["listed"] == sorted(seen["listed"]) and len(seen["listed"]) == len(worst)
    assert seen["opened"].startswith(min(worst, key=worst.__getitem__))
    # With the keyboard only.
    assert (seen["walked"], seen["focused"], seen["unreachable"]) == (1, True, 0)
    assert seen["failures"] == sum(margin <= 0 for margin in worst.values())
    assert seen["costs"] == 1 and "<b>" in seen["about"]
    assert seen["images"] >= 3 and seen["broken"] == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_page_is_not_wider_than_a_phone(page, tmp_path):
    # A frame, since Chromium's own window has a minimum width.
    outer = page.paper("phone.html")
    outer.write_text(
        '<iframe src="index.html" width="390" height="800"></iframe><script>addEventListener("load", () => {'
        "const root = frames[0].document.documentElement; document.title = `${root.scrollWidth}`; });</script>"
    )
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"]
    command += ["--allow-file-access-from-files", "--dump-dom", outer.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    # The scroll bar is part of the 390.
    assert 300 < int(re.search(r"<title>(\d+)</title>", done.stdout)[1]) <= 390
