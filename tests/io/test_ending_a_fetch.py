"""Ending a download by Ctrl-C or SIGTERM: at once, although its server has gone silent; the next one is whole."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

CONTENT = b"x" * 100_000


class Server:
    """Sends half of the file and nothing more; to who asks again it gives all that is asked for."""

    def __init__(self):
        self.socket, self.ranges = socket.create_server(("127.0.0.1", 0)), []
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/file.bin"
        self.closed = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while not self.closed.is_set():
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection, connection.makefile("rb") as stream:
            head = b"".join(iter(stream.readline, b"\r\n")).decode()
            start = next(
                (line.split("=")[1].rstrip("-\r") for line in head.split("\n") if line.startswith("Range")), ""
            )
            self.ranges.append(start)
            rest = CONTENT[int(start or 0) :]
            status = "206 Partial" if start else "200 OK"
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(rest)}\r\n\r\n".encode())
            if len(self.ranges) > 1:
                connection.sendall(rest)
            else:
                connection.sendall(rest[: len(rest) // 2])
                self.closed.wait()


@pytest.fixture
def server():
    one = Server()
    yield one
    one.closed.set()
    one.socket.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_fetch_ends_and_goes_on(server, tmp_path, number):
    entry = {"url": server.url, "sha256": hashlib.sha256(CONTENT).hexdigest(), "licence": "test"}
    entry |= {"revision": "", "files": [], "unpack": False}
    arguments = ["fetch", "download", "--download", "x", "--resources", str(tmp_path), "--settings", json.dumps(entry)]
    program = [sys.executable, "-m", "nearid", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    listens = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    partial = tmp_path / "x" / ".file.bin.partial"
    with subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, preexec_fn=listens) as child:
        while not (partial.is_file() and server.ranges):
            assert child.poll() is None, child.stderr.read().decode()
        child.send_signal(number)
        said = child.communicate(timeout=60)[1].decode()
    assert child.returncode == 128 + number and "start it again" in said and "Traceback" not in said
    assert not (tmp_path / "x/fetched.json").exists()
    subprocess.run(program, env=environment, check=True, timeout=120)
    assert (tmp_path / "x/file.bin").read_bytes() == CONTENT
