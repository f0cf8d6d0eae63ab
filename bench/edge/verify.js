import fs from 'fs';

let key;

async function publicKey(r) {
    if (key === undefined) {
        const pem = fs.readFileSync(r.variables.key_file, 'utf8');
        const der = Buffer.from(pem.replace(/-----.*-----|\n/g, ''), 'base64');
        const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
        key = await crypto.subtle.importKey('spki', der, algorithm, false, ['verify']);
    }
    return key;
}

function part(text) {
    return JSON.parse(Buffer.from(text, 'base64url'));
}

async function token(r) {
    const sent = r.headersIn.Authorization;
    const parts = sent === undefined || !sent.startsWith('Bearer ') ? [] : sent.slice(7).split('.');
    if (parts.length !== 3 || part(parts[0]).alg !== 'RS256') {
        r.return(401);
        return;
    }
    const signature = Buffer.from(parts[2], 'base64url');
    const signed = Buffer.from(`${parts[0]}.${parts[1]}`);
    const trusted = await publicKey(r);
    const good = await crypto.subtle.verify('RSASSA-PKCS1-v1_5', trusted, signature, signed);
    const claims = part(parts[1]);
    const current = claims.exp > Date.now() / 1000;
    const ours = claims.iss === r.variables.issuer && [].concat(claims.aud).includes('machineauth-api');
    if (!good || !current || !ours) {
        r.return(401);
        return;
    }
    if (![].concat(claims.scope).join(' ').split(' ').includes('read')) {
        r.return(403);
        return;
    }
    r.variables.agent_id = claims.sub;
    r.return(200);
}

export default { token };
