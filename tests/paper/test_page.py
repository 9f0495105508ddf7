"""The page, the summary and the effects: honest, escaped, without a network."""

import re
from html.parser import HTMLParser

import pytest
from paper_run import PAGE, RUN, SSR, write_scores

from nearid.io.files import write_bytes
from nearid.paper.effects import find_effects
from nearid.paper.metrics import read_metrics
from nearid.paper.page import render_page, write_page
from nearid.paper.run import Run
from nearid.paper.summary import write_summary


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.targets, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.targets += [value for key, value in attributes if key in ("href", "src")]


def verdicts(layout, ssr, run=RUN):
    write_scores(layout, ssr)
    effects = find_effects(Run.from_settings(run), read_metrics(layout, ssr))
    return [effect.holds for effect in effects]


def test_text_of_data_and_config_is_escaped(layout):
    text = render_page(PAGE, layout)
    assert "<script>alert" not in text and "&lt;script&gt;" in text
    # The page's own: two data files beside it, and what sorts, filters and browses.
    assert text.count("<script") == 3
    assert "Colour &amp; &lt;mask&gt;_%" in text


def test_page_needs_no_network(layout):
    text = render_page(PAGE, layout)
    links = Links(text)
    assert links.targets and not [target for target in links.targets if re.match(r"[a-z]+:|//", target)]
    assert "@import" not in text and "url(" not in text and "fetch(" not in text


def test_page_links_to_what_the_workflow_makes(layout):
    write_bytes(layout.figure("figure5", "gif"), b"GIF")
    targets = set(Links(render_page(PAGE, layout)).targets)
    named = {"tables/table5.tex", "figures/figure5.gif", "figures/figure7.png", "comparison.csv", "manifest.json"}
    assert named | {"../data/dropped.tsv"} <= targets
    assert "figures/figure7.gif" not in targets


def test_page_says_what_its_numbers_are(layout):
    assert "embedded demonstration" in render_page(PAGE, layout)
    assert "may not be compared" in render_page(PAGE, layout)
    other = {**PAGE, "run": {**RUN, "dataset_kind": "nearid"}}
    assert "embedded demonstration" not in render_page(other, layout)


def test_page_does_not_read_figures(layout):
    write_page(PAGE, layout)
    before = layout.paper("index.html").read_bytes()
    write_bytes(layout.figure("figure5", "png"), b"a new look")
    write_page(PAGE, layout)
    assert layout.paper("index.html").read_bytes() == before


def test_all_effects_hold_on_the_paper_s_side(layout):
    assert verdicts(layout, SSR) == [True] * 6


@pytest.mark.parametrize(
    ("changed", "failing"),
    [({"siglip2": 31.0}, 0), ({"nearid": 74.0}, 1), ({"infonce": 91.0}, 2), ({"colour_histogram": 95.0}, 5)],
)
def test_an_effect_that_fails_is_said(layout, changed, failing):
    found = verdicts(layout, SSR | changed)
    assert found[failing] is False and found.count(False) == 1
    text = render_page(PAGE, layout)
    assert text.count("does not hold") == 1


def test_without_infonce_the_order_cannot_be_told(layout):
    run = {**RUN, "scorers": [scorer for scorer in RUN["scorers"] if scorer["id"] != "infonce"]}
    assert verdicts(layout, SSR, run)[2] is None


def test_summary_shows_each_scorer_and_the_verdicts(layout):
    text = write_summary({"run": RUN}, layout)
    assert layout.paper("summary.txt").read_text() == text
    line = next(line for line in text.splitlines() if line.startswith("NearID"))
    assert line.split()[1:] == ["90.0", "95.0", "90.5", "92.0", "45.0", "0.450"]
    assert text.count("[holds]") == 6
