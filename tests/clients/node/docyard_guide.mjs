// The class of Docyard's guide, as the guide prints it but for the base URL, against the API that the guide describes.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'

const { BASE, CLIENT_ID, CLIENT_SECRET, DOCK } = process.env

const file = new URL('../docyard_guide/machine_client.js', import.meta.url)
const source = (await readFile(file, 'utf8')).replaceAll('https://api.docyard.io', BASE)
const DocyardMachineClient = new Function(`${source}; return DocyardMachineClient`)()

const client = new DocyardMachineClient(CLIENT_ID, CLIENT_SECRET)
const artifact = await client.createArtifact(DOCK, 'lab-results.pdf', {
  patientId: '12345',
  testType: 'blood-panel',
})
assert.match(artifact.id, /^art_/)
assert.equal(artifact.filename, 'lab-results.pdf')
assert.equal(artifact.contentType, 'application/pdf')
assert.deepEqual(artifact.metadata, { patientId: '12345', testType: 'blood-panel' })

const token = client.accessToken
await client.createArtifact(DOCK, 'again.pdf')
assert.equal(client.accessToken, token, 'one token serves for many calls')

await assert.rejects(client.createArtifact('dock_other', 'a.pdf'), /Artifact creation failed: Forbidden/)
const wrong = new DocyardMachineClient(CLIENT_ID, 'dys_wrong')
await assert.rejects(wrong.createArtifact(DOCK, 'a.pdf'), /Token request failed: Unauthorized/)
