"""The judge's endpoint against servers that drip, flood, truncate, redirect and try to get the key."""

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from nearid.config.settings.scores import ServedJudge
from nearid.errors import UserError
from nearid.io.images import encode_png
from nearid.scores.judging import endpoint
from nearid.scores.scorers import Shown
from nearid.tokens.collections import Picture

KEY = "sk-not-to-be-seen-1234"
GOOD = json.dumps({"choices": [{"message": {"content": '{"score": 8}'}}]}).encode()


def reply(content, status="200 OK", length=None, **headers):
    """A reply's bytes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content) if length is None else length}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class Server:
    """Answers each request with the next of `answers`: bytes, or a function of the socket."""

    def __init__(self, *answers):
        self.answers, self.requests, self.asked, self.gone = list(answers), [], threading.Event(), threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while not self.gone.is_set():
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.handle, args=(connection,), daemon=True).start()

    def handle(self, connection):
        try:
            with connection, connection.makefile("rb") as stream:
                head = b"".join(iter(stream.readline, b"\r\n")).decode()
                length = next(
                    int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-l")
                )
                stream.read(length)
                answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
                self.requests.append(head)
                self.asked.set()
                connection.sendall(answer) if isinstance(answer, bytes) else answer(self, connection)
        except OSError:
            pass  # the client gave up, as it should

    def close(self):
        self.gone.set()
        self.socket.close()


def drip(before):
    """Sends a byte now and then, for ever."""

    def send(server, connection):
        connection.sendall(before)
        while not server.gone.wait(0.02):
            connection.sendall(b"x")

    return send


def flood(server, connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not server.gone.is_set():
        connection.sendall(b"x" * 65536)


@pytest.fixture
def serve():
    servers = []

    def start(*answers):
        servers.append(Server(*answers))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def pair():
    picture = Picture("p", 0, 0, encode_png(np.zeros((16, 16, 3), np.uint8)), None)
    return (Shown("positives", picture, "full"),) * 2


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)


def entry_of(given):
    return ServedJudge.parse({"kind": "vlm_judge", **given})


def ask(url, pair, **entry):
    settings = {"endpoint": url, "served_model": "m", "api_key_env": "TEST_API_KEY", "timeout_s": 60.0}
    settings |= {"concurrency": 2, "max_new_tokens": 8}
    return list(endpoint.Judge(entry_of(settings | entry), first_wait_s=0.01).answer([pair]))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"), "no whole answer within"),
        (drip(b"HTTP/1.1 200 OK\r\nX-Drip: "), "no whole answer within"),
        (drip(b""), "within|no connection"),
        (flood, "more than"),
        (reply(gzip.compress(b" " * 50_000_000), Content_Encoding="gzip"), "no chat completion"),
        (reply(GOOD[:30], length=len(GOOD)), "no whole answer|ends after"),
        (reply(b'{"choices": ' + b"[" * 100_000), "no chat completion"),
        (b"", "no connection"),
        (b"SSH-2.0-nothing\r\n\r\n", "no connection"),
        (reply(b"", "503 \x1b[2Jgone"), "503"),
    ],
    ids=["body", "headers", "status", "flood", "gzip", "cut off", "brackets", "nothing", "another protocol", "busy"],
)
def test_a_reply_that_is_none_is_asked_for_again(serve, pair, bad, says, caplog):
    server = serve(bad, reply(GOOD))
    # A reply that never ends is ended by the timeout.
    assert ask(server.url, pair, timeout_s=1.0 if "within" in says else 60.0) == [(0, '{"score": 8}')]
    assert len(server.requests) >= 2
    assert re.search(says, caplog.text)


def test_a_redirect_is_refused_and_gets_no_key(serve, pair):
    thief = serve(reply(GOOD))
    server = serve(reply(b"", "307 Elsewhere", Location=f"{thief.url}/chat/completions"))
    with pytest.raises(UserError, match="307 to http"):
        ask(server.url, pair)
    assert not thief.requests


def test_netrc_does_not_replace_the_key(serve, pair, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login thief password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = serve(reply(GOOD))
    ask(server.url, pair)
    assert f"Authorization: Bearer {KEY}" in server.requests[0]
    monkeypatch.delenv("TEST_API_KEY")
    ask(server.url, pair)
    assert "Authorization" not in server.requests[1]


def test_a_key_leaves_this_machine_encrypted_only(pair, monkeypatch):
    with pytest.raises(UserError, match="unencrypted") as raised:
        ask("http://node.example:8000/v1", pair)
    assert KEY not in str(raised.value)
    settings = {"served_model": "m", "api_key_env": "TEST_API_KEY", "timeout_s": 1.0, "concurrency": 1}
    for url in ("https://node.example/v1", "http://localhost:8000/v1", "http://[::1]:8000/v1"):
        endpoint.Judge(entry_of({"endpoint": url, **settings, "max_new_tokens": 8}))
    monkeypatch.delenv("TEST_API_KEY")
    endpoint.Judge(entry_of({"endpoint": "http://node.example/v1", **settings, "max_new_tokens": 8}))


def test_a_server_s_words_are_told_short_and_harmless(serve, pair):
    server = serve(reply(f"\x1b]0;title\x07{KEY}\n\u202e{'long ' * 1000}".encode(), "400 Bad"))
    with pytest.raises(UserError) as raised:
        ask(server.url, pair)
    found = raised.value.found
    assert "\\x1b]0;title\\x07***\\n\\u202elong" in found and len(found) < 300 and found.isprintable()


PROGRAM = """
import sys, numpy as np
from pathlib import Path
from nearid.config.settings.scores import ScoreMTG
from nearid.io.images import encode_png
from nearid.scores.answers import Answers
from nearid.scores.scorers import Shown
from nearid.scores.scorers.vlm_judge import Scorer
from nearid.tokens.collections import Picture

entry = {"kind": "vlm_judge", "endpoint": sys.argv[1], "served_model": "m", "timeout_s": 600, "concurrency": 2}
scorer = Scorer(ScoreMTG.parse({"scorer_id": "judge", "scorer": entry, "conditions": []}), None)
pictures = [Picture("p", n, 0, encode_png(np.full((16, 16, 3), n, np.uint8)), None) for n in range(9)]
shown = [Shown("positives", picture, "full") for picture in pictures]
Answers(scorer, Path(sys.argv[2]), "judge").measure([(shown[0], other) for other in shown], "all")
"""


def test_ctrl_c_waits_for_no_reply(serve, tmp_path):
    server = serve(reply(GOOD), lambda server, connection: server.gone.wait())
    kept = tmp_path / "answers.jsonl"
    program = [sys.executable, "-c", PROGRAM, server.url, str(kept)]
    # If this test runs in the background, Ctrl-C is ignored, and would be in the child.
    listens = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    with subprocess.Popen(program, preexec_fn=listens, env=environment, stderr=subprocess.PIPE) as child:
        assert server.asked.wait(120)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)  # the server never answers, and the timeout is ten minutes
    assert child.returncode != 0
