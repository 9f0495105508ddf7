"""A judge behind an OpenAI-compatible endpoint, such as a vLLM server."""

from __future__ import annotations

import base64
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import requests

from nearid.errors import UserError
from nearid.io.images import encode_png
from nearid.scores.judging.prompt import PROMPT
from nearid.scores.scorers import Pair, Shown

TRIES = 6
LONGEST_WAIT_S = 60.0
PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
"""Statuses that another try may cure."""


class Judge:
    """Asks a server: greedy, several questions at a time, a failed one again with growing waits.

    A question that fails for good ends the run; what was answered before stands in the file of answers, so that
    starting again goes on there. The API key comes from an environment variable alone and is in no message.

    Args:
        settings: the scorer's entry: `endpoint` (`http://host:port/v1`), `served_model`, `api_key_env`, `timeout_s`,
            `concurrency`, `max_new_tokens`.
        first_wait_s: before the second try; doubled from try to try.
    """

    def __init__(self, settings: Mapping[str, Any], first_wait_s: float = 1.0) -> None:
        self._url = f"{settings['endpoint'].rstrip('/')}/chat/completions"
        self._model = settings["served_model"]
        self._tokens = settings["max_new_tokens"]
        self._timeout_s = settings["timeout_s"]
        self._threads = settings["concurrency"]
        self._key = os.environ.get(settings["api_key_env"], "")
        self._first_wait_s = first_wait_s
        self.identity = ["endpoint", self._model, self._tokens]

    def answer(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, str]]:
        """Positions and answers as they come.

        Raises:
            UserError: the server refuses, or does not answer after all tries; other questions under way are awaited.
        """
        stop = threading.Event()
        problem: UserError | None = None
        with ThreadPoolExecutor(self._threads) as pool:
            asked = {pool.submit(self._ask, pair, stop): position for position, pair in enumerate(pairs)}
            try:
                for future in as_completed(asked):
                    try:
                        answer = future.result()
                    except UserError as error:
                        # What is under way is answered and kept; nothing else is asked any more.
                        problem = problem or error
                        continue
                    if answer is not None:
                        yield asked[future], answer
            finally:
                stop.set()
        if problem:
            raise problem

    def _ask(self, pair: Pair, stop: threading.Event) -> str | None:
        """The answer; None where another question has ended the run before this one was asked."""
        if stop.is_set():
            return None
        try:
            return self._try(pair)
        except UserError:
            stop.set()
            raise

    def _try(self, pair: Pair) -> str:
        images = [{"type": "image_url", "image_url": {"url": _as_url(shown)}} for shown in pair]
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": [*images, {"type": "text", "text": PROMPT}]}],
            "temperature": 0,
            "max_tokens": self._tokens,
            "seed": 0,
        }
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        wait = self._first_wait_s
        reason = ""
        for attempt in range(1, TRIES + 1):
            pause = wait
            try:
                reply = requests.post(self._url, json=body, headers=headers, timeout=self._timeout_s)
                if reply.ok:
                    content = reply.json()["choices"][0]["message"]["content"]
                    if isinstance(content, str):
                        return content
                    reason = "an answer without text"
                elif reply.status_code not in PASSING:
                    raise self._refuse(f"status {reply.status_code}: {reply.text[:200]}", "mend the entry or the key")
                else:
                    reason = f"status {reply.status_code}"
                    pause = max(wait, _seconds(reply.headers.get("Retry-After")))
            except requests.Timeout:
                reason = f"no answer within {self._timeout_s} s"
            except requests.ConnectionError as error:
                reason = f"no connection ({type(error).__name__})"
            except (ValueError, KeyError, IndexError, TypeError) as error:
                reason = f"no chat completion ({type(error).__name__})"
            if attempt < TRIES:
                print(f"{self._url}: {reason}, try {attempt} of {TRIES}", file=sys.stderr, flush=True)
                time.sleep(min(pause, LONGEST_WAIT_S))
                wait *= 2
        raise self._refuse(f"{reason}, {TRIES} times", "start it again: answered pairs are kept")

    def _refuse(self, found: str, action: str) -> UserError:
        found = found.replace(self._key, "***") if self._key else found
        return UserError(self._url, found, "a chat completion", action)


def _as_url(shown: Shown) -> str:
    pixels = encode_png(shown.picture.pixels(shown.condition))
    return "data:image/png;base64," + base64.b64encode(pixels).decode()


def _seconds(header: str | None) -> float:
    return float(header) if header and header.replace(".", "", 1).isdigit() else 0.0
