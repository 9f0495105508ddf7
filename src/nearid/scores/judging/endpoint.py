"""A judge behind an OpenAI-compatible endpoint, such as a vLLM server. Nothing that the server does is trusted."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests

from nearid.config.settings.scores import ServedJudge
from nearid.errors import UserError
from nearid.io.images import encode_png
from nearid.scores.judging.prompt import MAX_NEW_TOKENS, choose_prompt
from nearid.scores.scorers import Pair, Shown

logger = logging.getLogger(__name__)

API_KEY_ENV = "OPENAI_API_KEY"
TIMEOUT_S = 120.0
CONCURRENCY = 8
TRIES = 6
LONGEST_WAIT_S = 60.0
LARGEST_REPLY = 1_000_000
"""Bytes; an answer of 512 tokens with its envelope has a few thousand."""
PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
"""HTTP statuses after which another attempt may succeed."""


class _NoAnswerError(Exception):
    """An attempt that gave no answer; another one may."""


class _AbandonedError(Exception):
    """The run has ended, so nobody waits for the answer."""


class Judge:
    """Asks a server, with greedy decoding, several questions at a time, and repeats failed ones with growing waits.

    A question that fails for good ends the run; earlier answers are in the file of answers, from which another run
    continues. The API key comes from an environment variable only and appears in no message.

    Args:
        scorer: its entry in the config.
        first_wait_s: the wait before the second attempt, doubled for each further one.

    Raises:
        UserError: a key would leave this machine unencrypted.
    """

    def __init__(self, scorer: ServedJudge, first_wait_s: float = 1.0) -> None:
        self._url = f"{scorer.endpoint.rstrip('/')}/chat/completions"
        self.prompt = choose_prompt(scorer.prompt)
        self._model = scorer.served_model
        self._tokens = scorer.max_new_tokens or MAX_NEW_TOKENS
        self._timeout_s = scorer.timeout_s or TIMEOUT_S
        self._threads = scorer.concurrency or CONCURRENCY
        # Large enough that a chunk keeps all connections busy.
        self.batch_size = 8 * self._threads
        key_env = scorer.api_key_env or API_KEY_ENV
        self._key = os.environ.get(key_env, "")
        self._first_wait_s = first_wait_s
        self._abandoned = threading.Event()
        self.identity = ["endpoint", self._model, self._tokens]
        if self._key and urlsplit(self._url).scheme == "http" and not _is_here(urlsplit(self._url).hostname or ""):
            raise UserError(
                self._url,
                f"a key ({key_env}) that would go to another machine unencrypted",
                "https, or a server on this machine (a tunnel to it: ssh -L)",
                f"use https, or start without the key: env -u {key_env} …",
            )

    def answer(self, pairs: Sequence[Pair]) -> Generator[tuple[int, str], None, None]:
        """Positions and answers as they arrive; closing the iterator early does not wait for any reply.

        Raises:
            UserError: the server refuses, or does not answer in any attempt; questions in flight are awaited first.
        """
        stop = threading.Event()
        self._abandoned.clear()
        problem: UserError | None = None
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                asked = {pool.submit(self._ask, pair, stop): position for position, pair in enumerate(pairs)}
                for future in as_completed(asked):
                    try:
                        answer = future.result()
                    except UserError as error:
                        # Questions in flight are still answered and kept, but no further ones are asked.
                        problem = problem or error
                        continue
                    if answer is not None:
                        yield asked[future], answer
            finally:
                stop.set()
                self._abandoned.set()
        if problem:
            raise problem

    def _ask(self, pair: Pair, stop: threading.Event) -> str | None:
        """The answer; None if another question's failure, or Ctrl-C, has ended the run before this one was answered."""
        if stop.is_set():
            return None
        try:
            return self._try(pair)
        except _AbandonedError:
            return None
        except UserError:
            stop.set()
            raise

    def _try(self, pair: Pair) -> str:
        images = [{"type": "image_url", "image_url": {"url": _as_url(shown)}} for shown in pair]
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": self.prompt.content(images)}],
            "temperature": 0,
            "max_tokens": self._tokens,
            "seed": 0,
        }
        wait = self._first_wait_s
        reason = ""
        for attempt in range(1, TRIES + 1):
            pause = wait
            try:
                status, headers, content = self._post(body)
                if status == 200:
                    return _read_completion(content)
                if status not in PASSING:
                    where = f" to {headers['Location']}" if "Location" in headers else ""
                    said = content.decode(errors="replace")
                    raise self._refuse(f"status {status}{where}: {said}", "correct the entry or the key")
                reason = f"status {status}"
                pause = max(wait, _seconds(headers.get("Retry-After")))
            except _NoAnswerError as error:
                reason = str(error)
            if attempt < TRIES:
                logger.info("%s: %s, try %d of %d", self._url, self._tell(reason), attempt, TRIES)
                if self._abandoned.wait(min(pause, LONGEST_WAIT_S)):
                    raise _AbandonedError
                wait *= 2
        raise self._refuse(f"{reason}, {TRIES} times", "start it again: answered pairs are kept")

    def _post(self, body: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and content of a reply that is complete, in time and no larger than `LARGEST_REPLY`.

        Raises:
            _NoAnswerError: there is no such reply.
            _AbandonedError: the run has ended.
        """
        exchange = _Exchange(lambda: self._open(body), time.monotonic() + self._timeout_s)
        return exchange.wait(self._abandoned, f"no whole answer within {self._timeout_s} s")

    def _open(self, body: Mapping[str, Any]) -> requests.Response:
        # No redirects: the key must not reach a server that is named by another one. With `auth` given, requests does
        # not look up another key in ~/.netrc.
        return requests.post(
            self._url,
            json=body,
            headers={"Accept-Encoding": "identity"},
            auth=self._sign,
            timeout=self._timeout_s,
            allow_redirects=False,
            stream=True,
        )

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _refuse(self, found: str, action: str) -> UserError:
        return UserError(self._url, self._tell(found), "a chat completion", action)

    def _tell(self, text: str) -> str:
        """A server's text without the key, shortened, and with control characters escaped."""
        text = text.replace(self._key, "***") if self._key else text
        return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text[:200])


class _Exchange:
    """A request and its reply, in a thread of its own, so that neither can block the caller beyond the deadline.

    A server that sends a byte now and then never exceeds a socket's timeout, not even in the reply's headers. The
    thread ends with the process at the latest.
    """

    def __init__(self, post: Callable[[], requests.Response], deadline: float) -> None:
        self._post, self._deadline = post, deadline
        self._done = threading.Event()
        self._reply: tuple[int, Mapping[str, str], bytes] | None = None
        self._problem: Exception | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def wait(self, abandoned: threading.Event, late: str) -> tuple[int, Mapping[str, str], bytes]:
        """The reply.

        Raises:
            _NoAnswerError: there is none, or none before the deadline.
            _AbandonedError: `abandoned` was set meanwhile.
        """
        while not self._done.wait(0.1):
            if abandoned.is_set():
                raise _AbandonedError
            if time.monotonic() > self._deadline:
                raise _NoAnswerError(late)
        if self._reply is not None:
            return self._reply
        if isinstance(self._problem, _NoAnswerError):
            raise self._problem
        if isinstance(self._problem, requests.Timeout):
            raise _NoAnswerError(late)
        what = "no connection" if isinstance(self._problem, requests.ConnectionError) else "no whole answer"
        raise _NoAnswerError(f"{what} ({type(self._problem).__name__})") from self._problem

    def _run(self) -> None:
        try:
            with self._post() as reply:
                self._reply = reply.status_code, reply.headers, self._read(reply)
        except Exception as error:  # whatever a broken server causes in the client; reported by its name
            self._problem = error
        finally:
            self._done.set()

    def _read(self, reply: requests.Response) -> bytes:
        """The content as it was sent: compression was not requested, and nothing is decompressed."""
        content = b""
        while True:
            if time.monotonic() > self._deadline:
                raise requests.Timeout
            part = reply.raw.read1(65536, decode_content=False)
            content += part
            if not part or len(content) > LARGEST_REPLY:
                break
        announced = reply.headers.get("Content-Length", "")
        if len(content) > LARGEST_REPLY:
            raise _NoAnswerError(f"an answer of more than {LARGEST_REPLY} bytes")
        if announced.isdecimal() and len(content) < int(announced):
            raise _NoAnswerError(f"an answer that ends after {len(content)} of {announced} bytes")
        return content


def _read_completion(content: bytes) -> str:
    """The answer's text.

    Raises:
        _NoAnswerError: the reply is no chat completion with a text.
    """
    try:
        text = json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise _NoAnswerError(f"no chat completion ({type(error).__name__})") from error
    if not isinstance(text, str):
        raise _NoAnswerError("an answer without text")
    return text


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _as_url(shown: Shown) -> str:
    pixels = encode_png(shown.picture.pixels(shown.condition))
    return "data:image/png;base64," + base64.b64encode(pixels).decode()


def _seconds(header: str | None) -> float:
    try:
        return max(float(header or 0), 0.0)
    except ValueError:  # a date
        return 0.0
