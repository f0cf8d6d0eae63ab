// jose with `createRemoteJWKSet`: a resource server that knows the issuer's key set and nothing else.
import './webcrypto.mjs'
import assert from 'node:assert/strict'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const { BASE, TOKEN, ALGORITHM, CLIENT_ID } = process.env

const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', BASE))
const verified = (options = {}) =>
  jwtVerify(TOKEN, keys, {
    issuer: BASE,
    audience: 'machineauth-api',
    algorithms: [ALGORITHM],
    requiredClaims: ['exp', 'iat', 'sub', 'jti'],
    ...options,
  })

const { payload, protectedHeader } = await verified()
assert.equal(protectedHeader.alg, ALGORITHM)
assert.equal(payload.sub, CLIENT_ID)
assert.deepEqual(payload.scope, ['read'])

for (const wrong of [{ audience: 'another' }, { issuer: `${BASE}/` }, { algorithms: ['PS512'] }]) {
  await assert.rejects(verified(wrong))
}
