/** Makes the rules of notifications from the file that CONFIG_FILE names, with the secrets that it names. */

import type { NotifyRule } from '../notify.ts';
import { readSecret, type Secret } from '../repositories.ts';
import { httpUrl } from '../shapes.ts';
import { webhookSecret } from '../tables/deployments.ts';
import type { NotifyFields, SecretFields } from './config-fields.ts';
import type { Problem } from './file-checks.ts';

interface FromFile {
  /** Null: there is no default. */
  defaultSecret: string | null;
  read(secret: SecretFields, path: PropertyKey[]): Secret;
  problems: Problem[];
}

/** Adds to the problems. The addresses may be secrets, so no problem shows one. */
export function notifyRules(rules: readonly NotifyFields[], from: FromFile): NotifyRule[] {
  return rules.map((rule, index) => toRule(rule, ['notify', index], from));
}

function toRule(rule: NotifyFields, path: PropertyKey[], from: FromFile): NotifyRule {
  const { format, events, environments = null, services = null } = rule;
  const url = readText(rule.url, [...path, 'url'], from);
  if (url !== '' && !isAddress(url)) {
    const message = 'expected an http(s) URL without credentials in the secret that it names';
    from.problems.push({ path: [...path, 'url'], message });
  }
  return { url, format, secret: secretOf(rule, path, from), events, environments, services };
}

/** Read once, so that a rule does not change while the server runs. */
function readText(secret: SecretFields, path: PropertyKey[], { read }: FromFile): string {
  return readSecret(read(secret, path)).trim();
}

function secretOf({ format, secret }: NotifyFields, path: PropertyKey[], from: FromFile): string | null {
  if (format === 'slack') {
    if (secret === undefined) return null;
    const message = 'expected no secret with `format: slack`, which signs nothing';
    from.problems.push({ path: [...path, 'secret'], message });
    return null;
  }
  if (secret === undefined) {
    if (from.defaultSecret !== null) return from.defaultSecret;
    const message = 'expected a secret that signs: `secret`, or EVENT_WEBHOOK_SECRET';
    from.problems.push({ path, message });
    return null;
  }
  const text = readText(secret, [...path, 'secret'], from);
  if (text !== '' && !webhookSecret.schema.safeParse(text).success) {
    from.problems.push({ path: [...path, 'secret'], message: `expected ${webhookSecret.expected}` });
  }
  return text;
}

function isAddress(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && httpUrl.schema.safeParse(text).success && `${url.username}${url.password}` === '';
}
