"""The judge: parsing answers, a misbehaving server, Qwen3-VL with tiny random weights through the command."""

import json
import math
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from click.testing import CliRunner
from score_steps import local_judge, of_mtg, score_nearid_bench
from tiny_models import save_qwen

from nearid.cli import nearid
from nearid.errors import UserError
from nearid.io.files import read_json
from nearid.io.tables import read_table
from nearid.scores.judging import endpoint, local
from nearid.scores.judging.prompt import read_prompt
from nearid.scores.judging.reading import read_answer

GOOD = '{"match_cues": ["scratch"], "conflict_cues": [], "background_used": false, "confidence": "high", "score": 8}'
KEY = "sk-not-to-be-seen-1234"


@pytest.mark.parametrize(
    ("answer", "similarity", "flags"),
    [
        (GOOD, 0.8, ()),
        (f"```json\n{GOOD}\n```", 0.8, ()),
        (f"I looked closely at both. {GOOD} I hope this helps.", 0.8, ()),
        ('{"match_cues": ["handle"], "score": 3.5', 0.35, ()),
        ('{"score": 6, "match_cues": ["a long cue that is cut of', 0.6, ()),
        ('{"score": "7"}', 0.7, ()),
        ('{"Score": "7/10"}', 0.7, ()),
        ('{"score": 11}', 1.0, ("clipped",)),
        ('{"score": -2}', 0.0, ("clipped",)),
        ("Score: 4, they look alike", 0.4, ("bad_json",)),
        ("These are the same mug.", math.nan, ("bad_json", "bad_score")),
        ('{"match_cues": [], "confidence": "low"}', math.nan, ("bad_score",)),
        ('{"score": null}', math.nan, ("bad_score",)),
        ('{"score": true}', math.nan, ("bad_score",)),
        ("", math.nan, ("bad_json", "bad_score")),
        ('{"a": ' + "[" * 100_000, math.nan, ("bad_json", "bad_score")),
        ("{" * 100_000, math.nan, ("bad_json", "bad_score")),
        ('{"score": ' + "[" * 5_000 + "8", math.nan, ("bad_json", "bad_score")),
        ('{"score": ' + "9" * 10_000 + "}", math.nan, ("bad_json", "bad_score")),
        # Repairing a long one would take minutes; models that repeat themselves write such answers.
        ("{" + "'e" * 10_000, math.nan, ("bad_json", "bad_score")),
        ("{" + "'e" * 2_000 + "score: 5", 0.5, ("bad_json",)),
        ('{"cues": "' + "x" * 10_000 + '", "score": 5}', 0.5, ()),
        ('{"score": 1e999}', math.nan, ("bad_score",)),
        ('{"score": "\ud800"}', math.nan, ("bad_score",)),
    ],
)
def test_answers_are_read_tolerantly(answer, similarity, flags):
    reading = read_answer(answer)
    assert reading.similarity == pytest.approx(similarity, nan_ok=True)
    assert reading.flags == flags


class Server:
    """Speaks the OpenAI protocol; `behave(number of the request, request)` returns the reply."""

    def __init__(self, behave):
        self.requests, self.behave, self.lock = [], behave, threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.requests.append((self.path, dict(self.headers), body))
                    number = len(outer.requests)
                status, content, headers, delay = outer.behave(number, body)
                time.sleep(delay)
                reply = content if isinstance(content, bytes) else json.dumps(content).encode()
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(reply)))
                    self.end_headers()
                    self.wfile.write(reply)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client gave up, as it should

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def say(text, status=200, delay=0.0, **headers):
    content = {"choices": [{"message": {"role": "assistant", "content": text}}]} if status == 200 else {"error": text}
    return status, content, headers, delay


@pytest.fixture
def serve():
    servers = []

    def start(behave):
        servers.append(Server(behave))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def settings_for(world, server, **entry):
    entry = {"served_model": "tiny", "concurrency": 3, "timeout_s": 0.5, **entry}
    settings = world.settings("judge", kind="vlm_judge", endpoint=server.url, **entry)
    del settings["backbone"], settings["backbone_id"]
    return settings | {"sources": ["sibling"], "conditions": ["full"]}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asked = endpoint.Judge.__init__
    monkeypatch.setattr(endpoint.Judge, "__init__", lambda self, settings: asked(self, settings, first_wait_s=0.01))


def test_a_misbehaving_server_loses_nothing_and_is_counted(world, serve, tmp_path, caplog, capfd):
    seen, lock = Counter(), threading.Lock()
    cycle = [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Well. {GOOD}",
        '{"score": 4, "cues": ["cut',
        '{"score": 11}',
        '{"score": "7"}',
        "no idea",
    ]

    def behave(number, body):
        images = json.dumps(body["messages"][0]["content"][:2])
        with lock:
            seen[images] += 1
            first = seen[images] == 1
            place = list(seen).index(images)
        if first and place % 5 == 0:
            return say("slow down", 429, **{"Retry-After": "0.02"})
        if first and place % 5 == 1:
            return say("broken", 500)
        if first and place % 5 == 2:
            return say(GOOD, delay=1.0)  # longer than the client waits
        if first and place % 5 == 3:
            return 200, b"<html>no json</html>", {}, 0.0
        return say(cycle[place % len(cycle)])

    server = serve(behave)
    output = tmp_path / "bench.parquet"
    score_nearid_bench(settings_for(world, server), world.layout, output)
    rows = read_table(output).to_pylist()
    # 5 test identities, 3 with three views: 3 * 6 + 2 * 3 pairs, each answered.
    lines = [json.loads(line) for line in (tmp_path / "bench.answers.jsonl").read_text().splitlines()]
    assert len(lines) == len({line["key"] for line in lines}) == len(seen) == 24
    answers = Counter(line["answer"] for line in lines)
    assert sum(answers.values()) == 24 and set(answers) == set(cycle)
    from nearid.scores.answers import read_counts

    assert read_counts(output) == {
        "pairs": 24,
        "bad_json": answers["no idea"],
        "bad_score": answers["no idea"],
        "clipped": answers['{"score": 11}'],
    }
    values = Counter(
        round(row[name], 3)
        for row in rows
        for name in ("sim_01", "sim_02", "sim_12", "cross_00", "cross_11", "cross_22")
        if not math.isnan(row[name])
    )
    similarity = {text: read_answer(text).similarity for text in cycle if text != "no idea"}
    expected = Counter()
    for text, value in similarity.items():
        expected[round(value, 3)] += answers[text]
    assert values == expected
    assert all(math.isnan(row["cross_01"]) and math.isnan(row["random"]) for row in rows), "not asked for"
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
    assert body["temperature"] == 0 and body["max_tokens"] == 512 and body["model"] == "tiny"
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url", "image_url", "text"]
    told = capfd.readouterr()
    assert "judge: NearID-bench, views, full" in caplog.text and "judge: NearID-bench, sibling, full" in caplog.text
    assert "try 1 of" in caplog.text and KEY not in caplog.text + told.err + told.out
    assert all(KEY not in path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())


def test_a_stopped_run_continues_and_asks_no_pair_twice(world, serve, tmp_path):
    output = tmp_path / "bench.parquet"
    broken = serve(lambda number, body: say(GOOD) if number <= 10 else say("out of memory", 500))
    with pytest.raises(UserError, match="500"):
        score_nearid_bench(settings_for(world, broken), world.layout, output)
    assert not output.exists()
    kept = (tmp_path / "bench.answers.jsonl").read_text().splitlines()
    assert len(kept) == 10
    # As after a kill in the middle of a line.
    (tmp_path / "bench.answers.jsonl").write_text("\n".join(kept) + '\n{"key": "abc", "ans')
    healthy = serve(lambda number, body: say(GOOD))
    score_nearid_bench(settings_for(world, healthy), world.layout, output)
    assert len(healthy.requests) == 14
    undisturbed = tmp_path / "other" / "bench.parquet"
    score_nearid_bench(settings_for(world, healthy), world.layout, undisturbed)
    assert undisturbed.read_bytes() == output.read_bytes()
    # Another source is added: only its pairs are asked.
    asked = len(healthy.requests)
    both = settings_for(world, healthy) | {"sources": ["sibling", "cut_paste"]}
    score_nearid_bench(both, world.layout, output)
    assert len(healthy.requests) - asked == 12  # 13 distractors; one more could not be painted


def test_a_refusal_ends_the_run_at_once_without_the_key(world, serve, tmp_path):
    server = serve(lambda number, body: say(f"invalid key {KEY}", 401))
    with pytest.raises(UserError, match="401") as raised:
        score_nearid_bench(settings_for(world, server, concurrency=1), world.layout, tmp_path / "bench.parquet")
    assert KEY not in str(raised.value) and len(server.requests) == 1


def test_a_server_that_is_not_there_is_named(world, serve, tmp_path):
    server = serve(lambda number, body: say(GOOD))
    settings = settings_for(world, server, concurrency=1)
    server.close()
    with pytest.raises(UserError, match="no connection") as raised:
        score_nearid_bench(settings, world.layout, tmp_path / "bench.parquet")
    assert server.url in raised.value.where


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (
            "Score A and B from {lowest} to {highest}, {braces} stay.",
            [*"AB", "Score A and B from 0 to 10, {braces} stay."],
        ),
        (
            "First: {image_a} second: {image_b}{image_c}. The score?",
            ["First: ", "A", " second: ", "B", "{image_c}. The score?"],
        ),
    ],
)
def test_a_judge_is_asked_in_the_words_of_a_file(world, serve, tmp_path, caplog, words, parts):
    server = serve(lambda number, body: say(GOOD))
    path = tmp_path / "words.txt"
    path.write_text(words + "\n")
    settings = settings_for(world, server)
    settings["scorer"]["prompt"] = str(path)
    score_nearid_bench(settings, world.layout, tmp_path / "bench.parquet")
    assert f"asked in the words of {path}" in caplog.text
    content = server.requests[0][2]["messages"][0]["content"]
    images = [part for part in content if part["type"] == "image_url"]
    assert len(images) == 2 and images[0] != images[1]
    shown = ["AB"[images.index(part)] if part in images else part["text"] for part in content]
    assert shown == parts
    # Another prompt is another question: no earlier answer is reused.
    asked = len(server.requests)
    path.write_text(words + " Again: the score.")
    score_nearid_bench(settings, world.layout, tmp_path / "bench.parquet")
    assert len(server.requests) == 2 * asked


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("Are they the same?", "no mention of a score"),
        ("{image_b} {image_a} score", "images in the order"),
        (None, "no text file"),
    ],
)
def test_words_that_cannot_be_asked_are_refused(tmp_path, words, message):
    path = tmp_path / "words.txt"
    if words is not None:
        path.write_text(words)
    with pytest.raises(UserError, match=message):
        read_prompt(path)


@pytest.mark.parametrize("mixture", [False, True])
def test_qwen3vl_judges_through_the_command(world, tmp_path, mixture):
    model = save_qwen(tmp_path / "qwen", mixture)
    settings = world.settings("judge", kind="vlm_judge", model=str(model), max_new_tokens=4, batch_size=3)
    settings |= {"sources": ["sibling"], "conditions": ["full"]}
    results = ["--results", str(world.layout.root), "--scorer", "judge"]
    for command, given in (("nearid-bench", settings), ("mtg", of_mtg(settings))):
        done = CliRunner().invoke(nearid, ["scores", command, *results, "--settings", json.dumps(given)])
        assert done.exit_code == 0, done.output
        assert "Loading weights" not in done.output and "torchvision" not in done.output
    lines = world.layout.scores("judge", "mtg").with_suffix(".answers.jsonl").read_text().splitlines()
    assert len(lines) == 5 * 5 and any(json.loads(line)["answer"] for line in lines)
    summary = {"scorer_id": "judge", "groups": {"all": ["sibling"]}, "headline_group": "all", "seed": 0}
    summary |= {"benchmarks": ["nearid_bench", "mtg"]}
    done = CliRunner().invoke(nearid, ["scores", "summarise", *results, "--settings", json.dumps(summary)])
    assert done.exit_code == 0, done.output
    metrics = read_json(world.layout.metrics("judge"))
    # Random weights give unreadable answers, and the metrics say so.
    assert metrics["answers"]["nearid_bench"] == {"pairs": 24, "bad_json": 24, "bad_score": 24}
    assert metrics["nearid_bench"]["full"]["sources"]["sibling"]["n"] == 0
    assert "sibling" in metrics["reasons"]["nearid_bench.full.groups.all"]


@pytest.mark.parametrize(
    ("device", "installed", "chosen"),
    [("cuda", True, "flash_attention_2"), ("cuda", False, "sdpa"), ("cpu", True, "sdpa")],
)
def test_flash_attention_is_used_where_it_can_be_and_told(tmp_path, monkeypatch, caplog, device, installed, chosen):
    judge = local_judge(save_qwen(tmp_path / "qwen"), max_new_tokens=1)
    asked = {}

    def load(kind, path, **options):
        asked.update(options)
        raise OSError("that is enough")

    monkeypatch.setattr(local, "load_whole", load)
    monkeypatch.setattr(local, "choose_device", lambda: torch.device(device))
    monkeypatch.setattr(local, "card_bytes", lambda device: 0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: object() if installed else None)
    with pytest.raises(UserError, match="that is enough"):
        judge._parts  # noqa: B018
    assert asked["attn_implementation"] == chosen
    assert ("PyTorch's attention; the paper's was FlashAttention-2" in caplog.text) == (chosen == "sdpa")
    assert f"{judge._path}: FlashAttention-2" in caplog.text or chosen == "sdpa"


def test_a_batch_answers_as_its_pairs_alone(world, tmp_path):
    # Left padding must not change what a greedy model says; images of two sizes make prompts of two lengths.
    import numpy as np

    from nearid.io.images import encode_png
    from nearid.scores.scorers import Shown
    from nearid.tokens.collections import Picture

    rng = np.random.default_rng(0)
    sizes = [(32, 32), (64, 64), (32, 64), (40, 40)]
    pictures = [
        Picture("p", n, 0, encode_png(rng.integers(0, 256, (*size, 3), dtype=np.uint8)), None)
        for n, size in enumerate(sizes)
    ]
    shown = [Shown("positives", picture, "full") for picture in pictures]
    pairs = [(shown[0], shown[1]), (shown[2], shown[3]), (shown[1], shown[1])]
    judge = local_judge(save_qwen(tmp_path / "qwen"), max_new_tokens=6)
    together = dict(judge.answer(pairs))
    assert together == {n: dict(judge.answer([pair]))[0] for n, pair in enumerate(pairs)}


def test_a_chat_template_may_lie_in_a_file_of_the_processor_s(tmp_path):
    folder = save_qwen(tmp_path / "qwen")
    template = folder / "chat_template.jinja"
    text = template.read_text()
    template.unlink()
    with pytest.raises(UserError, match="no chat template"):
        _ = local_judge(folder, max_new_tokens=4)._parts
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": text}))
    assert local_judge(folder, max_new_tokens=4)._parts[2].chat_template == text


@pytest.mark.parametrize(
    "entry", [{}, {"model": "x", "endpoint": "http://localhost/v1"}, {"model": "/nowhere"}, {"endpoint": "http://x/v1"}]
)
def test_an_entry_that_names_no_judge_is_refused(world, tmp_path, entry):
    with pytest.raises(UserError, match=r"judge|nowhere"):
        score_nearid_bench(world.settings("judge", kind="vlm_judge", **entry), world.layout, tmp_path / "b.parquet")
