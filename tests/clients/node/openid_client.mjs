// openid-client 6: discovery at both well-known places, the secret in the body and in HTTP Basic, which it percent-encodes.
import './webcrypto.mjs'
import assert from 'node:assert/strict'
import * as client from 'openid-client'

const { BASE, CLIENT_ID, CLIENT_SECRET } = process.env

const configuration = (algorithm, method, secret = CLIENT_SECRET) =>
  client.discovery(new URL(BASE), CLIENT_ID, undefined, method(secret), {
    algorithm,
    execute: [client.allowInsecureRequests],
  })

for (const algorithm of ['oidc', 'oauth2']) {
  for (const method of [client.ClientSecretPost, client.ClientSecretBasic]) {
    const config = await configuration(algorithm, method)
    assert.equal(config.serverMetadata().issuer, BASE)

    const granted = await client.clientCredentialsGrant(config, { scope: 'read' })
    assert.equal(granted.token_type, 'bearer')
    assert.equal(granted.scope, 'read')
    assert.ok(granted.expiresIn() > 0)

    const refreshed = await client.refreshTokenGrant(config, granted.refresh_token)
    assert.notEqual(refreshed.access_token, granted.access_token)

    const me = new URL('/api/agents/me', BASE)
    const shown = await client.fetchProtectedResource(config, refreshed.access_token, me, 'GET')
    assert.equal((await shown.json()).agent.client_id, CLIENT_ID)

    const described = await client.tokenIntrospection(config, refreshed.access_token)
    assert.equal(described.active, true)
    assert.equal(described.client_id, CLIENT_ID)
    await client.tokenRevocation(config, refreshed.access_token)
    assert.equal((await client.tokenIntrospection(config, refreshed.access_token)).active, false)
  }
}

const wrong = await configuration('oauth2', client.ClientSecretBasic, 'wrong')
await assert.rejects(client.clientCredentialsGrant(wrong), (error) => {
  assert.equal(error.code, 'OAUTH_WWW_AUTHENTICATE_CHALLENGE')
  assert.equal(error.status, 401)
  return true
})
