/** Accounts as GitHub shows them, each with its own id, and their permissions for the repository. */

import { createHash } from 'node:crypto';
import { describeUser } from './github-repository.ts';
import { type ApiAnswer, refusal } from './github-statuses.ts';

type Permission = 'admin' | 'maintain' | 'write' | 'triage' | 'read' | 'none';

export interface PeopleBook {
  /** Sets the permission of an account. By default, an account may only read. */
  allow(login: string, permission: Permission): void;
  permission(login: string): ApiAnswer;
}

function idOf(login: string): number {
  return createHash('sha256').update(login.toLowerCase()).digest().readUInt32BE(0);
}

export function describePerson(login: string): Record<string, unknown> {
  return { ...describeUser(login), id: idOf(login), type: login.endsWith('[bot]') ? 'Bot' : 'User' };
}

export function createPeopleBook(): PeopleBook {
  const permissions = new Map<string, Permission>();
  return {
    allow: (login, permission) => void permissions.set(login.toLowerCase(), permission),
    permission(login) {
      if (!/^[\w-]+$/.test(login)) return refusal(404, 'Not Found');
      const role_name = permissions.get(login.toLowerCase()) ?? 'read';
      // https://docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user
      const permission = { maintain: 'write', triage: 'read' }[role_name as string] ?? role_name;
      return { status: 200, body: { permission, role_name, user: { ...describePerson(login), role_name } } };
    },
  };
}
