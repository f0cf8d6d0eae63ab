// A machine client as Docyard's guide describes it, in Node: one token for many calls, renewed before it expires.
import assert from 'node:assert/strict'

const { BASE, ORGANIZATION, API_KEY } = process.env
const EARLY = 5 * 60 * 1000

class MachineClient {
  #token
  #expiresAt = 0

  constructor(clientId, clientSecret) {
    this.clientId = clientId
    this.clientSecret = clientSecret
    this.requestsMade = 0
  }

  async getToken() {
    if (Date.now() < this.#expiresAt - EARLY) return this.#token
    this.requestsMade += 1
    const response = await fetch(`${BASE}/v1/oauth/token`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        grant_type: 'client_credentials',
        client_id: this.clientId,
        client_secret: this.clientSecret,
        scope: 'artifacts:write',
      }),
    })
    if (!response.ok) throw new Error(`no token: ${response.status} ${response.statusText}`)
    const body = await response.json()
    this.#token = body.access_token
    this.#expiresAt = Date.now() + body.expires_in * 1000
    return this.#token
  }
}

const created = await fetch(`${BASE}/v1/organizations/${ORGANIZATION}/machine-clients`, {
  method: 'POST',
  headers: { Authorization: `Bearer ${API_KEY}`, 'Content-Type': 'application/json' },
  body: JSON.stringify({ name: 'los-integration', dockId: 'dock_mortgage_ops' }),
})
assert.equal(created.status, 201)
const { clientId, clientSecret } = await created.json()

const client = new MachineClient(clientId, clientSecret)
const token = await client.getToken()
assert.ok(token.startsWith('dyt_'))
assert.equal(await client.getToken(), token)
assert.equal(client.requestsMade, 1)
await assert.rejects(new MachineClient(clientId, 'dys_wrong').getToken(), /no token: 401/)
