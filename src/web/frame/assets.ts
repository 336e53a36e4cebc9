/** The style sheets, the script and the icon of the pages: read once, addressed by the hash of their content. */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { Hono } from 'hono';
import { assetFile } from '../../program-files.ts';

const SCRIPT = 'text/javascript; charset=utf-8';
const CONTENT_TYPES = {
  'app.css': 'text/css; charset=utf-8',
  'run.css': 'text/css; charset=utf-8',
  'overview.css': 'text/css; charset=utf-8',
  'watch.js': SCRIPT,
  'watch-worker.js': SCRIPT,
  'keys.js': SCRIPT,
  'run.js': SCRIPT,
  'log-viewer.js': SCRIPT,
  'log-bar.js': SCRIPT,
  'log-lines.js': SCRIPT,
  'log-list.js': SCRIPT,
  'log-rows.js': SCRIPT,
  'log-search.js': SCRIPT,
  'icon.svg': 'image/svg+xml',
} as const;

type AssetName = keyof typeof CONTENT_TYPES;

/** The page of a run has one style sheet of its own, because it is only painted when all of them are there. */
const RUN_STYLES = ['run.css', 'log.css', 'plan.css', 'colours.css'];

interface Asset {
  content: string;
  hash: string;
  /** The path with the hash of the content, so that browsers may cache it for ever. */
  path: string;
}

export type Assets = Record<AssetName, Asset>;

/** Reads the files from the folder `assets`, in the source tree or in `dist`. */
export function loadAssets(): Assets {
  const names = Object.keys(CONTENT_TYPES) as AssetName[];
  return Object.fromEntries(names.map((name) => [name, load(name)])) as Assets;
}

/** The classes of the 16 colours. They stand before the rules of the file, which change the text on a background. */
const COLOUR_CLASSES = Array.from(
  { length: 16 },
  (_, n) => `.fg-${n}{color:var(--c${n})}.bg-${n}{background:var(--c${n})}\n`,
).join('');

function load(name: AssetName): Asset {
  const content = name === 'run.css' ? RUN_STYLES.map(readStyle).join('\n') : withHashes(read(name));
  const hash = createHash('sha256').update(content).digest('base64url').slice(0, 16);
  return { content, hash, path: `/assets/${name}?v=${hash}` };
}

function read(name: string): string {
  return readFileSync(assetFile(`web/assets/${name}`), 'utf8');
}

function readStyle(name: string): string {
  return name === 'colours.css' ? COLOUR_CLASSES + read(name) : read(name);
}

/** Lets the imports of a script name the others by their addresses with a hash, too. */
function withHashes(script: string): string {
  return script.replaceAll(
    /^(import .* from )'\.\/([\w.-]+)';$/gm,
    (_, start, name) => `${start}'${load(name as AssetName).path}';`,
  );
}

/** GET /assets/<name>: cached for ever when the address carries the current hash, revalidated otherwise. */
export function createAssetRoutes(assets: Assets): Hono {
  const routes = new Hono();
  for (const [name, { content, hash }] of Object.entries(assets)) {
    // It is weak, because the compressed content has the same one.
    const etag = `W/"${hash}"`;
    let zipped: Uint8Array<ArrayBuffer> | null = null;
    routes.get(`/assets/${name}`, (c) => {
      c.header('ETag', etag);
      c.header('X-Content-Type-Options', 'nosniff');
      const hasHash = c.req.query('v') === hash;
      c.header('Cache-Control', hasHash ? 'public, max-age=31536000, immutable' : 'no-cache');
      if (c.req.header('If-None-Match') === etag) return c.body(null, 304);
      c.header('Content-Type', CONTENT_TYPES[name as AssetName]);
      c.header('Vary', 'Accept-Encoding');
      if (!/\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/i.test(c.req.header('Accept-Encoding') ?? ''))
        return c.body(content);
      zipped ??= new Uint8Array(gzipSync(content));
      c.header('Content-Encoding', 'gzip');
      return c.body(zipped);
    });
  }
  return routes;
}
