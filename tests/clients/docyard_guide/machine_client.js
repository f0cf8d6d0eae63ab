class DocyardMachineClient {
  constructor(clientId, clientSecret) {
    this.clientId = clientId;
    this.clientSecret = clientSecret;
    this.accessToken = null;
    this.expiresAt = null;
  }

  async getToken() {
    // Refresh 5 minutes before expiry
    if (this.accessToken && this.expiresAt && Date.now() < this.expiresAt - 300000) {
      return this.accessToken;
    }

    const response = await fetch('https://api.docyard.io/v1/oauth/token', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        grant_type: 'client_credentials',
        client_id: this.clientId,
        client_secret: this.clientSecret,
        scope: 'artifacts:write'
      })
    });

    if (!response.ok) {
      throw new Error(`Token request failed: ${response.statusText}`);
    }

    const data = await response.json();
    this.accessToken = data.access_token;
    this.expiresAt = Date.now() + (data.expires_in * 1000);
    console.log(`Token refreshed. Expires at: ${new Date(this.expiresAt)}`);
    return this.accessToken;
  }

  async createArtifact(dockId, filename, metadata = {}) {
    const token = await this.getToken();
    const response = await fetch(
      `https://api.docyard.io/v1/machine/docks/${dockId}/artifacts`,
      {
        method: 'POST',
        headers: {
          'Authorization': `Bearer ${token}`,
          'Content-Type': 'application/json'
        },
        body: JSON.stringify({ filename, metadata })
      }
    );

    if (!response.ok) {
      throw new Error(`Artifact creation failed: ${response.statusText}`);
    }

    return response.json();
  }
}
