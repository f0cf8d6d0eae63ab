"""The class of Docyard's guide, as the guide prints it but for the base URL, against the API that the guide describes:
its usage, its troubleshooting, its upload from a pipeline."""

import os
from pathlib import Path

import requests

BASE = os.environ["BASE"]
CLIENT_ID, CLIENT_SECRET = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
DOCK = os.environ["DOCK"]

source = Path(__file__).parent.parent / "docyard_guide" / "machine_client.py"
guide = {}
exec(source.read_text().replace("https://api.docyard.io", BASE), guide)


def token_for(scope):
    answer = requests.post(
        f"{BASE}/v1/oauth/token",
        json={
            "grant_type": "client_credentials",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "scope": scope,
        },
    )
    answer.raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def artifacts(dock):
    return f"{BASE}/v1/machine/docks/{dock}/artifacts"


# Usage.
client = guide["DocyardMachineClient"](client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
created = client.create_artifact(
    dock_id=DOCK,
    filename="lab-results.pdf",
    metadata={"patientId": "12345", "testType": "blood-panel"},
)
assert created["id"].startswith("art_"), created
assert created["metadata"] == {"patientId": "12345", "testType": "blood-panel"}, created
assert client._get_token() == client._access_token

# The upload of a pipeline: a form with the file and its metadata.
content = b"%PDF-1.7 not really"
uploaded = requests.post(
    artifacts(DOCK),
    headers=token_for("artifacts:write"),
    files={"file": ("docs.pdf", content, "application/pdf")},
    data={"metadata": '{"buildId":"42"}'},
)
uploaded.raise_for_status()
uploaded = uploaded.json()
assert uploaded["size"] == len(content) and uploaded["metadata"] == {"buildId": "42"}, uploaded
assert uploaded["hash"].startswith("sha256:") and len(uploaded["hash"]) == 71, uploaded

# The list.
listed = requests.get(artifacts(DOCK), headers=token_for("artifacts:read")).json()
assert listed["data"] == [created, uploaded], listed
assert listed["meta"] == {"total": 2, "page": 1, "pageSize": 20}, listed
assert set(created) == {
    "id", "filename", "contentType", "size", "hash", "storageKey", "metadata", "createdAt", "updatedAt",
}
second = requests.get(artifacts(DOCK), params={"page": 2, "pageSize": 1}, headers=token_for("artifacts:read")).json()
assert second["data"] == [uploaded] and second["meta"] == {"total": 2, "page": 2, "pageSize": 1}, second

# 403, and the words by which the guide tells one from the other.
refused = requests.get(artifacts(DOCK), headers=token_for("artifacts:write"))
assert refused.status_code == 403
assert "scope" in refused.json()["message"].lower() and "artifacts:read" in refused.json()["message"]
refused = requests.post(artifacts("dock_other"), headers=token_for("artifacts:write"), json={"filename": "a.pdf"})
assert refused.status_code == 403
message = refused.json()["message"].lower()
assert "dock" in message and "scope" not in message, message

# 401, and another token helps.
assert requests.get(artifacts(DOCK), headers={"Authorization": "Bearer dyt_invented"}).status_code == 401
wrong = guide["DocyardMachineClient"](client_id=CLIENT_ID, client_secret="dys_wrong")
try:
    wrong.create_artifact(DOCK, "a.pdf")
    raise AssertionError("a wrong secret gets no token")
except requests.HTTPError as error:
    assert error.response.status_code == 401, error
    assert error.response.json()["error"] == "invalid_client", error.response.text
