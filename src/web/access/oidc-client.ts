/** Talks to the provider of OpenID Connect: where people sign in, and who came back. */

import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  ClientSecretBasic,
  ClientSecretPost,
  Configuration,
  calculatePKCECodeChallenge,
  discovery,
  enableNonRepudiationChecks,
  fetchUserInfo,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
} from 'openid-client';
import type { OidcConfig } from '../../config.ts';
import { SECOND } from '../../units.ts';

/** What has to come back with a person who went to sign in. */
interface OidcFlow {
  state: string;
  nonce: string;
  verifier: string;
}

export type Claims = Readonly<Record<string, unknown>>;

export interface OidcClient {
  /** Returns where the person signs in. Rejects if the provider cannot be reached, or is none. */
  begin(): Promise<{ url: URL; flow: OidcFlow }>;
  /** Returns what the provider says about the person who came back to `callback`. Rejects if it was not this flow. */
  finish(callback: URL, flow: OidcFlow): Promise<Claims>;
}

const TIMEOUT_MS = 10 * SECOND;

export function createOidcClient(config: OidcConfig): OidcClient {
  const redirectUri = `${config.publicUrl}/login/oidc/callback`;
  let known: Promise<Configuration> | null = null;

  /** The provider is asked once, and again after a failure. */
  function provider(): Promise<Configuration> {
    const asked = known ?? discover(config);
    known = asked;
    asked.catch(() => {
      if (known === asked) known = null;
    });
    return asked;
  }

  return {
    async begin() {
      const found = await provider();
      const flow = { state: randomState(), nonce: randomNonce(), verifier: randomPKCECodeVerifier() };
      const url = buildAuthorizationUrl(found, {
        redirect_uri: redirectUri,
        scope: config.scopes,
        state: flow.state,
        nonce: flow.nonce,
        code_challenge: await calculatePKCECodeChallenge(flow.verifier),
        code_challenge_method: 'S256',
      });
      return { url, flow };
    },

    async finish(callback, { state, nonce, verifier }) {
      const found = await provider();
      // A proxy may have changed the host, but the provider compares the whole address.
      const current = new URL(redirectUri);
      current.search = callback.search;
      const tokens = await authorizationCodeGrant(found, current, {
        pkceCodeVerifier: verifier,
        expectedState: state,
        expectedNonce: nonce,
        idTokenExpected: true,
      });
      const claims = tokens.claims();
      if (claims === undefined) throw new Error('The provider sent no ID token.');
      if (found.serverMetadata().userinfo_endpoint === undefined) return claims;
      // Many providers say only there which groups somebody is in.
      return { ...(await fetchUserInfo(found, tokens.access_token, claims.sub)), ...claims };
    },
  };
}

async function discover({ issuer, clientId, clientSecret }: OidcConfig): Promise<Configuration> {
  const url = new URL(issuer);
  // The configuration allows http only for this machine itself.
  const execute = url.protocol === 'http:' ? [allowInsecureRequests] : [];
  const found = (
    await discovery(url, clientId, clientSecret, undefined, { execute, timeout: TIMEOUT_MS / SECOND })
  ).serverMetadata();
  // https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata: Basic is the default.
  const methods = found.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
  const authenticate = methods.includes('client_secret_basic') ? ClientSecretBasic : ClientSecretPost;
  const provider = new Configuration(found, clientId, clientSecret, authenticate(clientSecret));
  provider.timeout = TIMEOUT_MS / SECOND;
  for (const allow of execute) allow(provider);
  // The signature of the ID token is checked as well as the connection that brought it.
  enableNonRepudiationChecks(provider);
  return provider;
}
