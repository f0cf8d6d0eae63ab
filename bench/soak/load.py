#!/usr/bin/env python3
"""Mixed load for `bench/soak/run`: prints a row for each stretch of time, and whether the last third is as the first.

    load.py BASE API WARM_UP ROWS SECONDS NAME=PID …

The rows that warm up are printed before the others, and do not count.
"""

import json
import random
import statistics
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parent.parent))
from client import ADMIN, Connection  # noqa: E402

FORM = "application/x-www-form-urlencoded"
CLIENTS = 4
AGENTS = 20
# What the last third may be of the first.
MEMORY, LATENCY = 1.1, 1.5


class Client(threading.Thread):
    """Somebody who does one thing after the other, on connections of its own, with agents of its own."""

    def __init__(self, base, api):
        super().__init__(daemon=True)
        self.issuer, self.api = Connection(base), Connection(api)
        self.agents = [self.issuer.agent() for _ in range(AGENTS)]
        self.seconds, self.errors = [], 0

    def run(self):
        while True:
            self.round()

    def ask(self, connection, request, expected):
        """Asks, and counts what is not as expected."""
        status, body, seconds = connection.exchange(request)
        self.seconds.append(seconds)
        if status != expected:
            self.errors += 1
        return body

    def form(self, path, fields):
        """The bytes of a form."""
        return self.issuer.request("POST", path, FORM, urlencode(fields))

    def call(self, token, expected):
        """Uses a token at the API."""
        request = self.api.request("GET", "/artifacts", "text/plain", "", f"Bearer {token}")
        self.ask(self.api, request, expected)

    def round(self):
        """Of one agent: a token, some requests with it, a refresh, an introspection, a revocation."""
        at = random.randrange(AGENTS)
        _, client_id, client_secret = self.agents[at]
        request = self.issuer.token_request(client_id, client_secret)
        granted = json.loads(self.ask(self.issuer, request, 200))
        for _ in range(5):
            self.call(granted["access_token"], 200)
        own = {"client_id": client_id, "client_secret": client_secret}
        refresh = {**own, "grant_type": "refresh_token", "refresh_token": granted["refresh_token"]}
        granted = json.loads(self.ask(self.issuer, self.form("/oauth/token", refresh), 200))
        token = {"token": granted["access_token"]}
        self.ask(self.issuer, self.form("/oauth/introspect", token), 200)
        self.ask(self.issuer, self.form("/oauth/revoke", token), 200)
        if random.random() < 0.05:
            path = f"/api/agents/{self.agents[at][0]}"
            delete = self.issuer.request("DELETE", path, "application/json", "", f"Basic {ADMIN}")
            self.ask(self.issuer, delete, 204)
            self.agents[at] = self.issuer.agent()

    def take(self):
        """What was measured since the last time."""
        seconds, self.seconds = self.seconds, []
        errors, self.errors = self.errors, 0
        return seconds, errors


def resident(pid):
    """The resident memory of a process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main():
    base, api, warm_up, rows, seconds, *processes = sys.argv[1:]
    warm_up, rows, seconds = int(warm_up), int(rows), float(seconds)
    processes = dict(process.split("=") for process in processes)
    clients = [Client(base, api) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    names = "".join(f"{name + ' MB':>12}" for name in processes)
    print(f"{'row':>4} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8} {'errors':>7}{names}")
    table = []
    for row in range(1 - warm_up, rows + 1):
        time.sleep(seconds)
        taken = [client.take() for client in clients]
        all_seconds = sorted(s for some, _ in taken for s in some)
        errors = sum(count for _, count in taken)
        p50, p99 = (all_seconds[int(len(all_seconds) * part)] * 1e3 for part in (0.5, 0.99))
        memory = {name: resident(pid) for name, pid in processes.items()}
        table.append((p99, errors, memory))
        sizes = "".join(f"{size:12.1f}" for size in memory.values())
        print(f"{row:4} {len(all_seconds) / seconds:11.0f} {p50:8.2f} {p99:8.2f} {errors:7}{sizes}", flush=True)

    table = table[warm_up:]
    third = max(1, len(table) // 3)
    first, last = table[:third], table[-third:]
    is_flat = True

    def verdict(what, of, most):
        nonlocal is_flat
        ratio = statistics.median(map(of, last)) / statistics.median(map(of, first))
        is_flat &= ratio <= most
        word = "flat" if ratio <= most else "it grows"
        print(f"{what:34} last third / first third {ratio:6.2f}  target ≤ {most}  {word}")

    print()
    verdict("latency, p99", lambda row: row[0], LATENCY)
    for name in processes:
        # What Redis keeps is what it is told to keep; `bench/growth/run` looks into it.
        if name != "redis":
            verdict(f"resident memory of {name}", lambda row, name=name: row[2][name], MEMORY)
    errors = sum(row[1] for row in table)
    print(f"errors: {errors}")
    sys.exit(0 if is_flat and errors == 0 else 1)


if __name__ == "__main__":
    main()
