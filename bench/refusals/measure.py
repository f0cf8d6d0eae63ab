"""measure.py STORE BASE SAMPLES: times refusals of each kind, and prints how they compare."""

import math
import random
import statistics
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from client import Connection  # noqa: E402

STORE, BASE, SAMPLES = sys.argv[1], sys.argv[2], int(sys.argv[3])
CLIENTS = 50
REFERENCE = "wrong secret"
WARM_UP = 200


def requests_by_kind(connection):
    """For each kind of refusal a function that makes the next request."""
    known = [connection.agent() for _ in range(CLIENTS)]
    suspended = [connection.agent() for _ in range(CLIENTS)]
    for identifier, _, _ in suspended:
        connection.admin("POST", f"/api/agents/{identifier}/deactivate", {})
    expired = [connection.agent(expires_in=1) for _ in range(CLIENTS)]
    time.sleep(2)

    def other_secret():
        return random.choice(known)[2]

    def wrong_secret():
        at = random.randrange(CLIENTS)
        return connection.token_request(known[at][1], known[at - 1][2])

    return {
        REFERENCE: wrong_secret,
        "unknown client": lambda: connection.token_request(str(uuid.uuid4()), other_secret()),
        "suspended, right secret": lambda: connection.token_request(*random.choice(suspended)[1:]),
        "expired, right secret": lambda: connection.token_request(*random.choice(expired)[1:]),
    }


def measured(connection, kinds):
    """The seconds that each request took, by kind."""
    seconds = {kind: [] for kind in kinds}
    order = list(kinds)
    answers = set()
    for round_number in range(SAMPLES + WARM_UP):
        random.shuffle(order)
        for kind in order:
            status, body, elapsed = connection.exchange(kinds[kind]())
            answers.add((status, body))
            if round_number >= WARM_UP:
                seconds[kind].append(elapsed)
    assert len(answers) == 1 and answers.pop()[0] == 401, "all are refused alike"
    return seconds


def rank_test(one, other):
    """Mann-Whitney: how often a value of `one` is above one of `other`, and how likely that is by chance."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    rank_sum = sum(rank for rank, (_, which) in enumerate(ranked, start=1) if which == 0)
    pairs = len(one) * len(other)
    above = rank_sum - len(one) * (len(one) + 1) / 2
    deviation = math.sqrt(pairs * (len(one) + len(other) + 1) / 12)
    chance = math.erfc(abs(above - pairs / 2) / deviation / math.sqrt(2))
    return above / pairs, chance


connection = Connection(BASE)
seconds = measured(connection, requests_by_kind(connection))
reference = seconds[REFERENCE]
half = len(reference) // 2
print(f"\nI3 on {STORE}, {SAMPLES} refusals of each kind")
print(f"{'':28} {'median µs':>10} {'ratio':>7} {'above':>7} {'chance':>8}")
rows = {**seconds, "(wrong secret, by halves)": reference[:half]}
for kind, values in rows.items():
    against = reference[half:] if kind.startswith("(") else reference
    above, chance = rank_test(values, against)
    ratio = statistics.median(values) / statistics.median(against)
    print(f"{kind:28} {statistics.median(values) * 1e6:10.1f} {ratio:6.3f}× {above:7.3f} {chance:8.3f}")
print("ratio: of the medians; above: how often a refusal of the kind takes longer than a wrong secret (0.5: never told")
print("apart); chance: how often that much or more happens by accident. The last line compares like with like.")
