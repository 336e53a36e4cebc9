/** For tests: an issuer of OIDC tokens with keys of its own, served over http, and down on request. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';

export interface KeyServer {
  url: string;
  /** How often the keys were asked for. */
  asked: number;
  /** While set, every request is answered with this status. */
  status: number | null;
  /** Makes a key; it is served at once unless it is a stranger's. */
  makeKey(id: string, options?: { stranger?: boolean }): Promise<CryptoKey>;
  sign(claims: JWTPayload, how?: { key?: CryptoKey; kid?: string; algorithm?: string }): Promise<string>;
  close(): Promise<void>;
}

export const AUDIENCE = 'https://iac.example.com/pubsub/push';
export const ISSUER = 'https://accounts.example.com';
export const ACCOUNT = 'pubsub@project.iam.example.com';

/** The claims of a good token, which is valid for an hour. */
export function goodClaims(changes: Record<string, unknown> = {}): JWTPayload {
  const seconds = Math.floor(Date.now() / 1_000);
  const times = { iat: seconds, exp: seconds + 3_600 };
  return { iss: ISSUER, aud: AUDIENCE, sub: '1', email: ACCOUNT, email_verified: true, ...times, ...changes };
}

export async function startKeyServer(): Promise<KeyServer> {
  const served: JWK[] = [];
  const server = createServer((_request, response) => {
    keys.asked += 1;
    response.writeHead(keys.status ?? 200, { 'content-type': 'application/json' });
    response.end(keys.status === null ? JSON.stringify({ keys: served }) : '{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const known = new Map<string, CryptoKey>();
  const keys: KeyServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/certs`,
    asked: 0,
    status: null,
    async makeKey(id, { stranger = false } = {}) {
      const { publicKey, privateKey } = await generateKeyPair('RS256');
      if (!stranger) {
        served.push({ ...(await exportJWK(publicKey)), kid: id, alg: 'RS256', use: 'sig' });
        known.set(id, privateKey);
      }
      return privateKey;
    },
    sign(claims, { kid = 'k1', key = known.get(kid), algorithm = 'RS256' } = {}) {
      if (!key) throw new Error(`There is no key ${kid}.`);
      return new SignJWT(claims).setProtectedHeader({ alg: algorithm, kid }).sign(key);
    },
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  await keys.makeKey('k1');
  return keys;
}
