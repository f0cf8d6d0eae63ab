"""What the benches' own clients share: one connection, as few instructions as Python allows between question and answer."""

import base64
import json
import socket
import time
from urllib.parse import urlencode, urlsplit

ADMIN = base64.b64encode(b"admin@example.com:changeme").decode()


class Connection:
    """A connection to the issuer that stays open."""

    def __init__(self, base):
        address = urlsplit(base)
        self.host = address.netloc
        self.socket = socket.create_connection((address.hostname, address.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray(65536)

    def request(self, method, path, content_type, body, authorization=None):
        """The bytes of a request."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", f"Content-Type: {content_type}"]
        if authorization:
            lines.append(f"Authorization: {authorization}")
        lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def exchange(self, request):
        """Sends a request; the status, the body, and the seconds until it was there."""
        started = time.perf_counter()
        self.socket.sendall(request)
        answer = self.socket.recv(65536)
        while True:
            head, found, body = answer.partition(b"\r\n\r\n")
            if found:
                length = 0
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line[15:])
                if len(body) >= length:
                    break
            answer += self.socket.recv(65536)
        return int(head[9:12]), body, time.perf_counter() - started

    def admin(self, method, path, body):
        """What an administrator is answered, who is never refused."""
        request = self.request(method, path, "application/json", json.dumps(body), f"Basic {ADMIN}")
        status, answer, _ = self.exchange(request)
        assert status < 300, (status, answer)
        return json.loads(answer)

    def agent(self, **more):
        """A new agent: its identifier, client_id and client_secret."""
        created = self.admin("POST", "/api/agents", {"name": "bench", "scopes": ["read", "write"], **more})
        return created["agent"]["id"], created["client_id"], created["client_secret"]

    def token_request(self, client_id, client_secret):
        """The bytes of a request for a token."""
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        return self.request("POST", "/oauth/token", "application/x-www-form-urlencoded", urlencode(form))
