/** The addresses by which people sign in and out. */

import * as answers from './answers.ts';
import type { Row } from './described-route.ts';

export const SIGN_IN: readonly Row[] = [
  [
    'get /login',
    'none',
    'The page on which people sign in.',
    { 200: 'text/html', 303: null },
    { query: ['next'] },
  ],
  ['post /login', 'none', 'Signs in, with a form.', { 303: null }],
  [
    'get /login/oidc',
    'none',
    'Leads to the provider of OpenID Connect, if there is one.',
    { 303: null },
    { query: ['next'] },
  ],
  ['get /login/oidc/callback', 'none', 'Signs in whom the provider sent back.', { 303: null }],
  ['post /logout', 'none', 'Signs out.', { 303: null }],
  [
    'get /sessions',
    'viewer',
    'The sessions of the caller; for admins those of all.',
    { 200: answers.sessions },
  ],
  ['post /sessions/{id}/end', 'viewer', 'Ends a session.', { 200: answers.endedSession, 303: null }],
];
