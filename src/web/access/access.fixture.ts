/** A gate and an access as the server has them, for tests. */

import type { ApiToken } from '../../config.ts';
import { createGate, type GateOptions } from '../doors/gate.ts';
import { type AccessOptions, createAccess } from './access.ts';

export function createTestGate(options: Partial<GateOptions> = {}) {
  return createGate({
    trustedProxies: [],
    clock: () => performance.now(),
    log: { warn() {} },
    ...options,
  });
}

export const LINK_KEY = Buffer.alloc(32, 2);

type TestAccess = { tokens: readonly ApiToken[]; store: AccessOptions['store'] } & Partial<AccessOptions>;

export function createTestAccess(options: TestAccess) {
  return createAccess({
    gate: createTestGate(),
    oidc: null,
    linkKey: LINK_KEY,
    https: false,
    clock: Date.now,
    ...options,
  });
}
