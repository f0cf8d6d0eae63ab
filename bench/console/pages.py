"""pages.py BASE ROUNDS: how long each page of the console takes, in milliseconds, beside what it may. Ends with 1 when one takes
longer."""

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


    def post(self, path):
        """Sends a form of the page at `path` that has no fields, to that path."""
        token = re.search(rb'name="form_token" value="([^"]+)"', self.get(path)).group(1).decode()
        self.ask("POST", path, urlencode({"form_token": token}), 303)

    def link(self, path, pattern):
        """Where the first link of a page leads that is like that."""
        found = re.search(rb'href="(' + pattern + rb')"', self.get(path))
        return found.group(1).decode().replace("&amp;", "&")


def organization(api):
    """One with a hundred agents and twenty teams."""
    body = {"name": "bench", "slug": "bench", "owner_email": "bench@example.com"}
    made = api.admin("POST", "/api/organizations", body)["id"]
    for n in range(20):
        api.admin("POST", f"/api/organizations/{made}/teams", {"name": f"team {n}"})
    for _ in range(100):
        api.agent(organization_id=made)
    return made


def verified(console):
    """The seconds that the whole trail takes to be verified."""
    path = "/admin/audit/verification"
    started = time.perf_counter()
    console.post(path)
    while b"Under way" in console.get(path):
        time.sleep(0.05)
    return time.perf_counter() - started


base, rounds = sys.argv[1], int(sys.argv[2])
api = Connection(base)
tenant = organization(api)
agent, client_id, client_secret = api.agent()
console = Console(base)
webhook = console.link("/admin/webhooks", rb"/admin/webhooks/[0-9a-f-]{36}")
pages = {
    "dashboard": "/admin",
    "dashboard, a week": "/admin?span=week",
    "agents": "/admin/agents",
    "agents, second page": console.link("/admin/agents", rb"[^\"]*after=[^\"]*"),
    "agents, by name": "/admin/agents?sort=name&q=one",
    "agents, inactive": "/admin/agents?status=inactive",
    "an agent": f"/admin/agents/{agent}",
    "organizations": "/admin/organizations",
    "an organization": f"/admin/organizations/{tenant}",
    "tokens": "/admin/tokens",
    "webhooks": "/admin/webhooks",
    "a webhook": webhook,
    "a webhook, what failed": f"{webhook}?status=dead",
    "a delivery": console.link(webhook, rb"/admin/webhooks/[^\"]*/deliveries/[^\"]*"),
    "audit": "/admin/audit",
    "audit, of an agent": f"/admin/audit?agent_id={agent}",
    "audit, what never was": "/admin/audit?q=nobody-is-called-so",
    "verification": "/admin/audit/verification",
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
missed = False
for name, times in taken.items():
    median, slowest = statistics.median(times), max(times)
    verdict = "" if median < TARGET else "  missed"
    missed |= median >= TARGET
    print(f"{name:24} {median:8.1f} {slowest:8.1f} {'< ' + str(TARGET):>8}{verdict}")
print(f"the trail is verified in {verified(console):.1f} s")
sys.exit(missed)
