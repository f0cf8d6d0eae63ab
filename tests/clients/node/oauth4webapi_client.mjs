// oauth4webapi 3: every answer through its checks, and the access token through its check of RFC 9068.
import './webcrypto.mjs'
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'

const { BASE, CLIENT_ID, CLIENT_SECRET } = process.env
const insecure = { [oauth.allowInsecureRequests]: true }
const client = { client_id: CLIENT_ID }
const issuer = new URL(BASE)

for (const algorithm of ['oidc', 'oauth2']) {
  const found = await oauth.discoveryRequest(issuer, { algorithm, ...insecure })
  const server = await oauth.processDiscoveryResponse(issuer, found)

  for (const method of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
    const authentication = method(CLIENT_SECRET)
    const ask = (request, ...parameters) => request(server, client, authentication, ...parameters, insecure)

    const scope = new URLSearchParams({ scope: 'read write' })
    const granted = await oauth.processClientCredentialsResponse(
      server,
      client,
      await ask(oauth.clientCredentialsGrantRequest, scope),
    )
    assert.equal(granted.scope, 'read write')
    const refreshed = await oauth.processRefreshTokenResponse(
      server,
      client,
      await ask(oauth.refreshTokenGrantRequest, granted.refresh_token),
    )

    const token = refreshed.access_token
    const headers = { authorization: `Bearer ${token}` }
    const request = new Request(new URL('/artifacts', BASE), { headers })
    const claims = await oauth.validateJwtAccessToken(server, request, 'machineauth-api', insecure)
    assert.equal(claims.client_id, CLIENT_ID)
    assert.equal(claims.scope, 'read write')

    const introspected = async () =>
      oauth.processIntrospectionResponse(server, client, await ask(oauth.introspectionRequest, token))
    assert.equal((await introspected()).active, true)
    await oauth.processRevocationResponse(await ask(oauth.revocationRequest, token))
    assert.equal((await introspected()).active, false)
  }

  const wrong = await oauth.clientCredentialsGrantRequest(
    server,
    client,
    oauth.ClientSecretPost('wrong'),
    new URLSearchParams(),
    insecure,
  )
  await assert.rejects(oauth.processClientCredentialsResponse(server, client, wrong), (error) => {
    assert.equal(error.cause[0].scheme, 'basic')
    assert.equal(error.status, 401)
    return true
  })
}
