// The `standardwebhooks` package: a receiver that knows its secret and nothing else.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { Webhook, WebhookVerificationError } from 'standardwebhooks'

const { BASE } = process.env

const call = async (path, body) => {
  const answer = await fetch(`${BASE}${path}`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${btoa('admin@example.com:changeme')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
  })
  assert.ok(answer.ok, await answer.clone().text())
  return answer.json()
}

const server = createServer(async (request, response) => {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  response.writeHead(204).end()
  server.emit('arrived', { headers: request.headers, body: Buffer.concat(chunks).toString() })
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')

/** What arrives when an agent is made. */
const delivery = async () => {
  const arrived = once(server, 'arrived')
  const { agent } = await call('/api/agents', { name: 'an agent', scopes: ['read'] })
  const [{ headers, body }] = await arrived
  return { agent, headers, body }
}

const url = `http://127.0.0.1:${server.address().port}/hook`
const created = await call('/api/webhooks', { name: 'w', url, events: ['agent.created'] })
const verifier = new Webhook(created.secret)

const first = await delivery()
const event = verifier.verify(first.body, first.headers)
assert.equal(event.event, 'agent.created')
assert.equal(event.agent_id, first.agent.id)

const refused = (verifier, body, headers) =>
  assert.throws(() => verifier.verify(body, headers), WebhookVerificationError)
refused(verifier, first.body.replace('agent.created', 'agent.deleted'), first.headers)
refused(new Webhook(`whsec_${'A'.repeat(44)}`), first.body, first.headers)
for (const shift of [-301, 301]) {
  const timestamp = `${Number(first.headers['webhook-timestamp']) + shift}`
  refused(verifier, first.body, { ...first.headers, 'webhook-timestamp': timestamp })
}

// While both live, either verifies.
const rotated = await call(`/api/webhooks/${created.webhook.id}/rotate-secret`, { grace: 600 })
const second = await delivery()
verifier.verify(second.body, second.headers)
new Webhook(rotated.secret).verify(second.body, second.headers)
server.close()
server.closeAllConnections()
