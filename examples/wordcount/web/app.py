"""Takes texts, and tells how often a word was in those that have been counted."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import redis

PORT = 8080
ADDRESS = os.environ["REDIS_ADDRESS"]
LONGEST_BYTES = int(os.environ["LONGEST_TEXT_BYTES"])
MOST_READ_BYTES = 1 << 20


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, {"status": "ok"})
        elif self.path == "/readyz":
            self.with_redis(lambda: (redis.call(ADDRESS, "PING"), {"status": "ok"})[1])
        elif self.path.startswith("/words/"):
            word = unquote(self.path.removeprefix("/words/")).lower()
            self.with_redis(lambda: {"word": word, "count": int(redis.call(ADDRESS, "HGET", "words", word) or 0)})
        else:
            self.answer(404, {"error": f"there is no {self.path}"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        # Also what is refused is read, if it is not endless: who still sends does not hear the answer.
        text = self.rfile.read(min(length, MOST_READ_BYTES))
        if length > MOST_READ_BYTES:
            self.close_connection = True
        if self.path != "/texts":
            self.answer(404, {"error": f"there is no {self.path}"})
        elif length > LONGEST_BYTES:
            self.answer(413, {"error": f"a text has {LONGEST_BYTES} bytes at most"})
        else:
            words = text.decode(errors="replace")
            self.with_redis(lambda: {"waiting": redis.call(ADDRESS, "LPUSH", "texts", words)}, 202)

    def with_redis(self, ask, code=200):
        try:
            self.answer(code, ask())
        except (OSError, redis.RedisError) as error:
            self.answer(503, {"error": f"Redis at {ADDRESS}: {error}"})

    def answer(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        if self.path not in ("/healthz", "/readyz"):
            super().log_request(code, size)


if __name__ == "__main__":
    # The first process of a container has no handlers but its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("", PORT), Handler)
    server.daemon_threads = True
    print(f"listening on {PORT}", flush=True)
    server.serve_forever()
