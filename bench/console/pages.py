"""pages.py BASE ROUNDS: how long each page of the console takes, in milliseconds, beside what it may."""

import re
import statistics
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent))
from client import Connection  # noqa: E402

TARGET = 50
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Console:
    """A browser without a window, signed in as the documented administrator."""

    def __init__(self, base):
        self.connection = HTTPConnection(urlsplit(base).netloc)
        self.cookie = ""
        page = self.get("/admin/sign-in")
        token = re.search(rb'name="form_token" value="([^"]+)"', page).group(1).decode()
        credentials = {"email": "admin@example.com", "password": "changeme"}
        form = urlencode({"form_token": token, **credentials})
        self.ask("POST", "/admin/sign-in", form, 303)

    def get(self, path):
        return self.ask("GET", path, None, 200)

    def ask(self, method, path, body, expected):
        headers = {"Cookie": self.cookie, **(FORM if body else {})}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != expected:
            sys.exit(f"{method} {path}: {answer.status}\n{text.decode()}")
        set_cookie = answer.getheader("Set-Cookie")
        if set_cookie:
            self.cookie = set_cookie.split(";")[0]
        return text


base, rounds = sys.argv[1], int(sys.argv[2])
agent, client_id, client_secret = Connection(base).agent()
console = Console(base)
second = re.search(rb'rel="next" href="([^"]+)"', console.get("/admin/agents")).group(1).decode()
pages = {
    "dashboard": "/admin",
    "dashboard, a week": "/admin?span=week",
    "agents": "/admin/agents",
    "agents, second page": second.replace("&amp;", "&"),
    "agents, by name": "/admin/agents?sort=name&q=one",
    "agents, inactive": "/admin/agents?status=inactive",
    "an agent": f"/admin/agents/{agent}",
    "organizations": "/admin/organizations",
    "tokens": "/admin/tokens",
    "webhooks": "/admin/webhooks",
    "audit": "/admin/audit",
    "audit, of an agent": f"/admin/audit?agent_id={agent}",
    "keys": "/admin/keys",
    "configuration": "/admin/configuration",
    "administrators": "/admin/administrators",
    "account": "/admin/account",
}
taken = {name: [] for name in pages}
for _ in range(rounds):
    for name, path in pages.items():
        start = time.perf_counter()
        console.get(path)
        taken[name].append((time.perf_counter() - start) * 1000)
print(f"{'milliseconds':24} {'median':>8} {'slowest':>8} {'target':>8}")
for name, times in taken.items():
    median, slowest = statistics.median(times), max(times)
    verdict = "" if median < TARGET else "  missed"
    print(f"{name:24} {median:8.1f} {slowest:8.1f} {'< ' + str(TARGET):>8}{verdict}")
