import time
import requests
from datetime import datetime, timedelta

class DocyardMachineClient:
    def __init__(self, client_id: str, client_secret: str, token_url: str = "https://api.docyard.io/v1/oauth/token"):
        self.client_id = client_id
        self.client_secret = client_secret
        self.token_url = token_url
        self._access_token = None
        self._expires_at = None

    def _get_token(self) -> str:
        """Get or refresh the access token."""
        # Refresh 5 minutes before expiry to avoid race conditions
        if self._access_token and self._expires_at and datetime.now() < self._expires_at - timedelta(minutes=5):
            return self._access_token

        response = requests.post(
            self.token_url,
            json={
                "grant_type": "client_credentials",
                "client_id": self.client_id,
                "client_secret": self.client_secret,
                "scope": "artifacts:write"
            }
        )
        response.raise_for_status()
        data = response.json()

        self._access_token = data["access_token"]
        expires_in = data.get("expires_in", 3600)
        self._expires_at = datetime.now() + timedelta(seconds=expires_in)

        print(f"Token refreshed. Expires at: {self._expires_at}")
        return self._access_token

    def create_artifact(self, dock_id: str, filename: str, metadata: dict = None):
        """Upload an artifact with automatic token management."""
        token = self._get_token()
        response = requests.post(
            f"https://api.docyard.io/v1/machine/docks/{dock_id}/artifacts",
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json"
            },
            json={
                "filename": filename,
                "metadata": metadata or {}
            }
        )
        response.raise_for_status()
        return response.json()
