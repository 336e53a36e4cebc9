/** The frame of every page: document, header, footer, and the short page that says why there is no other. */

import { html } from 'hono/html';
import type { Identity } from '../access/access.ts';
import type { Assets } from './assets.ts';

export type Html = ReturnType<typeof html>;

export interface PageFrame {
  title: string;
  identity: Identity | null;
  assets: Assets;
  /** Where signing in leads back to, on pages that can be read without it. */
  signInTo?: string;
  /** True for the page of a run: it has logs, and a script that keeps it up to date. */
  live?: boolean;
  /** True for pages that are read again whenever something has changed. */
  watches?: boolean;
  /** True for pages with a form although nobody is signed in. */
  hasForm?: boolean;
}

export function page(
  {
    title,
    identity,
    assets,
    signInTo,
    live = false,
    watches = false,
    hasForm = identity !== null,
  }: PageFrame,
  body: Html,
): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
${hasForm && REFERRER_FOR_FORMS}
<title>${title} · iac-runner</title>
<link rel="icon" href="${assets['icon.svg'].path}" type="image/svg+xml">
<link rel="stylesheet" href="${assets['app.css'].path}">
${live && liveParts(assets)}${watches && watchingParts(assets)}
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="bar">
<a class="brand" href="/"><img src="${assets['icon.svg'].path}" alt="" width="20" height="20">iac-runner</a>
${identity && sections(title, identity)}
${identity ? account(identity) : signInTo !== undefined && signIn(signInTo)}
</header>
<main id="main">
${body}
</main>
</body>
</html>`;
}

/*
 * Under `no-referrer` browsers send `Origin: null` with forms, and outside https no Sec-Fetch-Site either, so nothing
 * would show that a form is ours. `same-origin` keeps the address from other sites just as well.
 * https://fetch.spec.whatwg.org/#append-a-request-origin-header
 */
const REFERRER_FOR_FORMS = html`<meta name="referrer" content="same-origin">`;

/** The scripts that the script of the page imports. Browsers fetch them at once, and not one after the other. */
const LOG_SCRIPTS = [
  'log-viewer.js',
  'log-bar.js',
  'log-lines.js',
  'log-list.js',
  'log-rows.js',
  'log-search.js',
] as const;

function liveParts(assets: Assets): Html {
  return html`<link rel="stylesheet" href="${assets['run.css'].path}">
${LOG_SCRIPTS.map((name) => html`<link rel="modulepreload" href="${assets[name].path}">`)}
<script type="module" src="${assets['run.js'].path}"></script>`;
}

function watchingParts(assets: Assets): Html {
  return html`<link rel="stylesheet" href="${assets['overview.css'].path}">
<script type="module" src="${assets['watch.js'].path}" data-worker="${assets['watch-worker.js'].path}"></script>
<script type="module" src="${assets['keys.js'].path}"></script>`;
}

/** The title of a section's page is its word here. */
const SECTIONS: readonly [path: string, word: string][] = [
  ['/', 'Overview'],
  ['/runs', 'Runs'],
  ['/services', 'Services'],
  ['/holds', 'Holds'],
  ['/deliveries', 'Deliveries'],
  ['/workers', 'Workers'],
];
const FOR_ADMINS: readonly [path: string, word: string][] = [['/audit', 'Audit']];

function sections(title: string, identity: Identity): Html {
  const shown = identity.role === 'admin' ? [...SECTIONS, ...FOR_ADMINS] : SECTIONS;
  const links = shown.map(
    ([path, word]) => html`<a href="${path}"${word === title && html` aria-current="page"`}>${word}</a>
`,
  );
  return html`<nav class="sections" aria-label="Sections">
${links}</nav>`;
}

function signIn(next: string): Html {
  return html`<div class="account"><a href="/login?next=${encodeURIComponent(next)}">Sign in</a></div>`;
}

function account({ name, role, credential }: Identity): Html {
  return html`<div class="account">
<a href="/sessions"><bdi>${name}</bdi> <span class="quiet">${role}</span></a>
${
  credential === 'session' &&
  html`<form method="post" action="/logout"><button class="plain" type="submit">Sign out</button></form>`
}
</div>`;
}

/** A page of one sentence, for 401, 403, 404, 409. */
export function messagePage(frame: PageFrame, message: string): Html {
  return page(
    frame,
    html`<section class="notice-page"><h1>${frame.title}</h1><p>${message}</p>
<p><a href="/runs">All runs</a></p></section>`,
  );
}
