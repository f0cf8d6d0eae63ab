"""What receivers of webhooks share here: a socket, a webhook that leads to it, and something that happens."""

import os
import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import requests

BASE = os.environ["BASE"]
ADMIN = ("admin@example.com", "changeme")


class Receiver:
    """Listens on loopback and keeps what arrives: headers and the body, byte for byte."""

    def __init__(self):
        self.arrived = queue.Queue()
        arrived = self.arrived

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                arrived.put((dict(self.headers), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}/hook"

    def next(self):
        return self.arrived.get(timeout=30)


def call(path, body):
    answer = requests.post(f"{BASE}{path}", json=body, auth=ADMIN, timeout=30)
    assert answer.ok, answer.text
    return answer.json()


def webhook(url):
    """The identifier and the secret of a webhook to `url`."""
    body = {"name": "w", "url": url, "events": ["agent.created"]}
    created = call("/api/webhooks", body)
    return created["webhook"]["id"], created["secret"]


def make_an_agent():
    return call("/api/agents", {"name": "an agent", "scopes": ["read"]})["agent"]["id"]
