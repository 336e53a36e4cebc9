import { expect, it } from 'vitest';
import { environmentDigests, environmentOf } from './task-environment.ts';

const ALL = {
  DB_TOKEN: 'd',
  WEB_PASSWORD: 'w',
  DATABASE: 'postgres://user:secret@db/app',
  REGION: 'eu',
};

function serviceWith(secrets?: string[]) {
  return { rule: { match: '{service}', ...(secrets ? { secrets } : {}) } };
}

it.each([
  ['all variables without the field', undefined, ['DB_TOKEN', 'WEB_PASSWORD', 'DATABASE', 'REGION']],
  ['the named secrets', ['DB_TOKEN', 'DATABASE'], ['DB_TOKEN', 'DATABASE', 'REGION']],
  ['no secret', [], ['REGION']],
  ['no secret that does not exist', ['OTHER_TOKEN'], ['REGION']],
])('a service gets %s', (_name, secrets, names) => {
  expect(Object.keys(environmentOf(serviceWith(secrets), ALL))).toEqual(names);
});

it('a secret that a service does not get does not change its digest', () => {
  const service = serviceWith(['DB_TOKEN']);
  const digestWith = (more: object) => environmentDigests({ ...ALL, ...more })(service);
  expect(digestWith({ WEB_PASSWORD: 'other' })).toBe(digestWith({}));
  expect(digestWith({ DB_TOKEN: 'other' })).not.toBe(digestWith({}));
});
