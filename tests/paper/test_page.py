"""The page, the summary and the effects: truthful, escaped, without a network."""

import re
from html.parser import HTMLParser

import pytest
from paper_run import PAGE, RUN, SSR, TABLES, metrics, page, rates, run, table, write_scores

from nearid.config.settings.paper import WriteSummary
from nearid.io.files import write_bytes, write_json
from nearid.paper.effects import find_effects
from nearid.paper.metrics import read_metrics
from nearid.paper.page import render_page, write_page
from nearid.paper.summary import write_summary


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.targets, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.targets += [value for key, value in attributes if key in ("href", "src")]


def verdicts(layout, ssr):
    write_scores(layout, ssr)
    effects = find_effects(run(), read_metrics(layout, ssr))
    return {effect.claim: effect.holds for effect in effects}


def test_text_of_data_and_config_is_escaped(layout):
    text = render_page(PAGE, layout)
    assert "<script>alert" not in text and "&lt;script&gt;" in text
    # The page's own scripts: two data files beside it, and what sorts, filters and browses.
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
    other = page(dataset_kind="nearid")
    assert "embedded demonstration" not in render_page(other, layout)


def test_page_does_not_read_figures(layout):
    write_page(PAGE, layout)
    before = layout.paper("index.html").read_bytes()
    write_bytes(layout.figure("figure5", "png"), b"a new look")
    write_page(PAGE, layout)
    assert layout.paper("index.html").read_bytes() == before


def test_effects_hold_where_the_run_shows_them(layout):
    found = verdicts(layout, SSR)
    assert list(found.values()).count(True) == 10 and False not in found.values()


@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({"siglip2": 51.0}, "Frozen encoders fail: SSR"),
        ({"nearid": 74.0}, "NearID tells near-identities apart"),
        ({"infonce": 91.0}, "NearID is above InfoNCE"),
        ({"colour_histogram": 95.0}, "Colour alone"),
    ],
)
def test_an_effect_that_fails_is_said(layout, changed, failing):
    found = verdicts(layout, SSR | changed)
    assert [claim.startswith(failing) for claim, holds in found.items() if holds is False] == [True]
    text = render_page(PAGE, layout)
    assert text.count("does not hold") == 1


def test_what_a_run_lacks_is_not_tested_with_the_reason(layout):
    scorers = [scorer for scorer in RUN["scorers"] if scorer["id"] != "infonce"]
    effects = find_effects(run(scorers=scorers, group_roles={}), read_metrics(layout, SSR))
    told = {effect.claim: effect.numbers for effect in effects if effect.verdict == "not tested"}
    order = next(numbers for claim, numbers in told.items() if "InfoNCE, and that" in claim)
    assert order == "no scorer of this run stands for InfoNCE"
    assert any("role `unseen` in group_roles" in numbers for numbers in told.values())
    assert all(told.values())


def test_where_nothing_was_learned_nothing_carries_over_and_nothing_is_robust(layout):
    """0 and 0 are close to each other, which means nothing."""
    found = verdicts(layout, SSR | {"nearid": 20.0})
    vacuous = [holds for claim, holds in found.items() if "It carries over" in claim or "hardly needs that" in claim]
    assert vacuous == [False, False]


def test_cards_show_the_first_table_and_nothing_that_was_not_measured(layout):
    rows = [scorer for scorer in RUN["scorers"] if scorer["id"] in ("siglip2", "nearid")]
    shown = PAGE.model_copy(update={"tables": TABLES | {"table1": table("table1", scorers=rows)}})
    cards = re.search(r'aria-label="Headline numbers">(.*?)</section>', render_page(shown, layout), re.DOTALL)[1]
    assert cards.count("<div>") == 2 and "InfoNCE" not in cards
    for scorer in SSR:
        write_json(layout.metrics(scorer), metrics(scorer, 20.0) | {"nearid_bench": None, "mtg": None})
    assert 'aria-label="Headline numbers"' not in render_page(shown, layout)


def test_effects_speak_of_scorers_by_their_own_names_and_of_no_negative_zero(layout):
    content = metrics("siglip2", 20.0)
    content["nearid_bench"]["fg"]["groups"] = {"all": rates(20.0 - 1e-9, 60)}
    write_json(layout.metrics("siglip2"), content)
    effects = find_effects(run(), read_metrics(layout, SSR))
    masking = next(effect for effect in effects if effect.claim.startswith("Frozen encoders fail by"))
    assert masking.numbers == "SigLIP 2 (frozen) 0.0" and masking.holds is False


def test_summary_shows_each_scorer_and_the_verdicts(layout):
    text = write_summary(WriteSummary.parse({"run": RUN}), layout)
    assert layout.paper("summary.txt").read_text() == text
    line = next(line for line in text.splitlines() if line.startswith("NearID"))
    assert line.split()[1:] == ["90.0", "95.0", "90.5", "92.0", "45.0", "0.450"]
    assert text.count("[holds]") == 10
