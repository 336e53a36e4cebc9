/** Decides who somebody is, and what they may do, from the claims of the provider. Pure. */

import { type OidcConfig, ROLES, type Role } from '../../config.ts';
import type { Claims } from './oidc-client.ts';
import { digestOf } from './sessions.ts';

/** Returns the highest role that a rule gives, or null. */
export function roleFor({ roles }: Pick<OidcConfig, 'roles'>, claims: Claims): Role | null {
  const given = roles.filter(({ claim, value }) => valuesOf(claims, claim).includes(value));
  return ROLES.findLast((role) => given.some((rule) => rule.role === role)) ?? null;
}

/** A claim in an object is named with full stops: `realm_access.roles`. */
function valuesOf(claims: Claims, name: string): string[] {
  const found = Object.hasOwn(claims, name)
    ? claims[name]
    : name.split('.').reduce(memberOf, claims as unknown);
  return (Array.isArray(found) ? found : [found]).filter((value) => typeof value === 'string');
}

function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return Object.entries(value).find(([key]) => key === name)?.[1];
}

/**
 * The name in which the person acts. Only the subject is unique and never changes, but nobody knows it, so it is the last
 * choice: https://openid.net/specs/openid-connect-core-1_0.html#ClaimStability
 */
export function nameFor({ email, email_verified: verified, preferred_username: name, sub }: Claims): string {
  if (typeof email === 'string' && email !== '' && verified !== false) return withoutBlanks(email);
  return withoutBlanks(typeof name === 'string' && name !== '' ? name : String(sub));
}

/** Names in rules of approval have none of these. */
function withoutBlanks(name: string): string {
  return name.replace(/[\s:,\p{Cc}]/gu, '_').slice(0, 128);
}

/** Sessions end when another provider, client or rule is configured. */
export function boundOf({ issuer, clientId, roles }: OidcConfig): string {
  return digestOf(JSON.stringify([issuer, clientId, roles]));
}
