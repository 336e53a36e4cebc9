/** A real, certified provider of OpenID Connect, and a person who signs in there with a browser. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider from 'oidc-provider';
import type { Page } from 'playwright-core';

export const OIDC_CLIENT = { id: 'iac-runner', secret: 'oidc-client-secret-91be' } as const;

/** The claims of the people, by their logins. */
export type People = Readonly<Record<string, { email?: string; groups?: readonly string[] }>>;

export interface LocalOidc {
  issuer: string;
  close(): Promise<void>;
}

/** `redirectUri` is the only address to which the provider sends people back. */
export async function startOidcProvider(redirectUri: string, people: People): Promise<LocalOidc> {
  // The provider needs its own address, which has its port.
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: OIDC_CLIENT.id, client_secret: OIDC_CLIENT.secret, redirect_uris: [redirectUri] }],
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['preferred_username'],
      groups: ['groups'],
    },
    // Claims of scopes are then only at the userinfo endpoint, as with many providers.
    conformIdTokenClaims: true,
    cookies: { keys: ['a-key-of-a-test'] },
    ttl: {
      AccessToken: 600,
      AuthorizationCode: 60,
      Grant: 600,
      IdToken: 600,
      Interaction: 600,
      Session: 600,
    },
    findAccount: (_context, id) => ({
      accountId: id,
      claims: async () => ({ sub: id, preferred_username: id, email_verified: true, ...people[id] }),
    }),
  });
  const answer = provider.callback();
  return {
    issuer,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Signs in on the pages of the provider, on which the browser is. */
export async function signInAtProvider(page: Page, login: string): Promise<void> {
  await page.locator('input[name="login"]').fill(login);
  await page.locator('input[name="password"]').fill('any');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  await page.getByRole('button', { name: 'Continue' }).click();
}
