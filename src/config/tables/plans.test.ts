/** The configuration of the senders who may ask for plans. */

import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../config.ts';

const BASE = {
  WEBHOOK_SECRET: 'a-secret-of-a-test-0123',
  GIT_REPO_URL: 'https://github.com/acme/platform.git',
};
const AUDIENCE = { PUBSUB_AUDIENCE: 'https://iac.example.com/pubsub/push' };
const ACCOUNT = { PUBSUB_SERVICE_ACCOUNT: 'pubsub@project.iam.gserviceaccount.com' };

describe('The configuration of Pub/Sub', () => {
  it('needs the service account beside the audience, because everybody can get a token with that audience', () => {
    expect(() => loadConfig({ ...BASE, ...AUDIENCE })).toThrow(/PUBSUB_SERVICE_ACCOUNT/);
    expect(() => loadConfig({ ...BASE, ...ACCOUNT })).toThrow(/PUBSUB_AUDIENCE/);
    expect(() => loadConfig({ ...BASE, ...AUDIENCE, PUBSUB_ALLOW_UNAUTHENTICATED: 'true' })).toThrow(
      /PUBSUB_SERVICE_ACCOUNT/,
    );
  });

  it('verifies tokens with both, and is off with neither', () => {
    const { plans } = loadConfig({ ...BASE, ...AUDIENCE, ...ACCOUNT, TRUST_PULL_REQUEST_AUTHORS: 'true' });
    expect(plans.pubsub?.oidc).toMatchObject({
      audience: AUDIENCE.PUBSUB_AUDIENCE,
      serviceAccount: ACCOUNT.PUBSUB_SERVICE_ACCOUNT,
    });
    expect(loadConfig(BASE).plans.pubsub).toBeNull();
  });
});
