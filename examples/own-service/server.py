"""A small shop, to be released. Standard library only.

GREETING  what it says
FAIL      share of the requests that it answers with an error, such as 0.2
DELAY     seconds before each answer, such as 0.05
"""

import argparse
import os
import random
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GREETING = os.environ.get("GREETING", "hello")
FAIL = float(os.environ.get("FAIL", "0"))
DELAY = float(os.environ.get("DELAY", "0"))


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave together: two small writes would wait 40 ms for each other on a busy connection.
    wbufsize = -1

    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(200, "ok")
        if DELAY:
            time.sleep(DELAY)
        if random.random() < FAIL:
            return self.answer(500, "out of order")
        return self.answer(200, GREETING)

    def answer(self, status, text):
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    server = Server(("127.0.0.1", arguments.parse_args().port), Shop)
    # Ends after the requests in flight: shutdown() waits for the loop, so it needs a thread of its own.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
