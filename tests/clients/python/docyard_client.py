"""A machine client as Docyard's guide describes it: one token for many calls, renewed five minutes before it expires;
both secrets during a rotation; 401, 403 and 429 each handled."""

import os
import time
from datetime import datetime, timedelta

import requests

BASE = os.environ["BASE"]
ORGANIZATION = os.environ["ORGANIZATION"]
API_KEY = os.environ["API_KEY"]
TOKEN_URL = f"{BASE}/v1/oauth/token"
CLIENTS = f"{BASE}/v1/organizations/{ORGANIZATION}/machine-clients"


class MachineClient:
    """Holds a token; asks for another one when it is about to expire, or when told so."""

    EARLY = timedelta(minutes=5)

    def __init__(self, client_id, *secrets):
        self.client_id = client_id
        self.secrets = list(secrets)
        self.requests_made = 0
        self.token = None
        self.expires_at = None

    def get_token(self, scope="artifacts:write", force_refresh=False):
        fresh = self.token and datetime.now() < self.expires_at - self.EARLY
        if fresh and not force_refresh:
            return self.token
        for secret in self.secrets:
            answer = self.request(secret, scope)
            if answer.status_code != 401:
                break
        answer.raise_for_status()
        body = answer.json()
        self.token = body["access_token"]
        self.expires_at = datetime.now() + timedelta(seconds=body.get("expires_in", 3600))
        return self.token

    def request(self, secret, scope):
        self.requests_made += 1
        return requests.post(
            TOKEN_URL,
            json={
                "grant_type": "client_credentials",
                "client_id": self.client_id,
                "client_secret": secret,
                "scope": scope,
            },
        )


def as_administrator(method, path="", **body):
    answer = requests.request(
        method, f"{CLIENTS}{path}", headers={"Authorization": f"Bearer {API_KEY}"}, json=body or None
    )
    answer.raise_for_status()
    return answer.json() if answer.content else None


def introspected(token):
    return requests.post(f"{BASE}/oauth/introspect", data={"token": token}).json()


created = as_administrator(
    "POST",
    name="epic-ehr-integration",
    dockId="dock_metro_general",
    scopes=["artifacts:write", "artifacts:read"],
    partyId="pty_1",
)
client_id, old = created["clientId"], created["clientSecret"]

client = MachineClient(client_id, old)
token = client.get_token()
assert token.startswith("dyt_") and client.get_token() == token and client.requests_made == 1
assert introspected(token)["dockId"] == "dock_metro_general"

# 401: the token is gone, another one is had.
requests.post(f"{BASE}/oauth/revoke", data={"token": token}).raise_for_status()
assert introspected(token)["active"] is False
assert introspected(client.get_token(force_refresh=True))["active"] is True

# Rotation: the program knows both secrets, tries the new one first, and works whichever is good.
new = as_administrator("POST", f"/{client_id}/rotate")["clientSecret"]
for secrets in ((new, old), ("dys_not_deployed_yet", old)):
    assert MachineClient(client_id, *secrets).get_token()
ending = [secret for secret in as_administrator("GET", f"/{client_id}")["secrets"] if "expiresAt" in secret]
as_administrator("DELETE", f"/{client_id}/secrets/{ending[0]['id']}")
assert client.request(old, "artifacts:read").status_code == 401
assert client.request(new, "artifacts:read").status_code == 200

# 403: the message says what is missing.
refused = requests.get(f"{BASE}/api/agents", headers={"Authorization": f"Bearer {client.token}"})
assert refused.status_code == 403 and "scope" in refused.json()["message"].lower(), refused.text

# 429: the answer says how long to wait, and then it works.
while (answer := client.request(new, "artifacts:read")).status_code == 200:
    pass
assert answer.status_code == 429, answer.text
time.sleep(int(answer.headers.get("Retry-After", 60)))
assert client.request(new, "artifacts:read").status_code == 200
