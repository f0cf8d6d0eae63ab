// simple-oauth2 5: credentials in the header, percent-encoded or not, and in the body, as a form and as JSON.
import assert from 'node:assert/strict'
import { ClientCredentials } from 'simple-oauth2'

const { BASE, CLIENT_ID, CLIENT_SECRET } = process.env

const grant = (options, secret = CLIENT_SECRET) =>
  new ClientCredentials({
    client: { id: CLIENT_ID, secret },
    auth: { tokenHost: BASE, tokenPath: '/oauth/token' },
    options,
  })

for (const options of [
  { authorizationMethod: 'header', credentialsEncodingMode: 'strict' },
  { authorizationMethod: 'header', credentialsEncodingMode: 'loose' },
  { authorizationMethod: 'body', bodyFormat: 'form' },
  { authorizationMethod: 'body', bodyFormat: 'json' },
]) {
  const granted = await grant(options).getToken({ scope: 'read' })
  assert.equal(granted.expired(), false)
  assert.equal(granted.token.token_type, 'Bearer')
  assert.equal(granted.token.scope, 'read')
  const headers = { authorization: `Bearer ${granted.token.access_token}` }
  const me = await fetch(`${BASE}/api/agents/me`, { headers })
  assert.equal((await me.json()).agent.client_id, CLIENT_ID)
}

await assert.rejects(grant({}, 'wrong').getToken(), (error) => {
  assert.equal(error.output.statusCode, 401)
  assert.equal(error.data.payload.error, 'invalid_client')
  return true
})
