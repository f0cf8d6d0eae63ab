// Node 18, which Debian 12 has, keeps these in a module; later versions have them everywhere.
import { webcrypto } from 'node:crypto'

globalThis.crypto ??= webcrypto
globalThis.CryptoKey ??= webcrypto.CryptoKey
