/** The style sheets, script and icon of the pages: read once, addressed by the hash of their content. */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Hono } from 'hono';

const CONTENT_TYPES = {
  'app.css': 'text/css; charset=utf-8',
  'run.css': 'text/css; charset=utf-8',
  'plan.css': 'text/css; charset=utf-8',
  'colours.css': 'text/css; charset=utf-8',
  'run.js': 'text/javascript; charset=utf-8',
  'icon.svg': 'image/svg+xml',
} as const;

type AssetName = keyof typeof CONTENT_TYPES;

interface Asset {
  name: AssetName;
  content: string;
  contentType: string;
  hash: string;
  /** Path with the content's hash, so that it may be cached for ever. */
  path: string;
}

export type Assets = Record<AssetName, Asset>;

/** Reads the files beside this module, in the source tree or in `dist`. */
export function loadAssets(): Assets {
  return {
    'app.css': load('app.css'),
    'run.css': load('run.css'),
    'plan.css': load('plan.css'),
    'colours.css': load('colours.css'),
    'run.js': load('run.js'),
    'icon.svg': load('icon.svg'),
  };
}

function load(name: AssetName): Asset {
  const content = readFileSync(new URL(`../assets/${name}`, import.meta.url), 'utf8');
  const hash = createHash('sha256').update(content).digest('base64url').slice(0, 16);
  return { name, content, contentType: CONTENT_TYPES[name], hash, path: `/assets/${name}?v=${hash}` };
}

/** GET /assets/<name>: cached for ever when the address carries the current hash, revalidated otherwise. */
export function createAssetRoutes(assets: Assets): Hono {
  const routes = new Hono();
  for (const asset of Object.values(assets)) {
    const etag = `"${asset.hash}"`;
    routes.get(`/assets/${asset.name}`, (c) => {
      c.header('ETag', etag);
      c.header('X-Content-Type-Options', 'nosniff');
      const pinned = c.req.query('v') === asset.hash;
      c.header('Cache-Control', pinned ? 'public, max-age=31536000, immutable' : 'no-cache');
      if (c.req.header('If-None-Match') === etag) return c.body(null, 304);
      return c.body(asset.content, 200, { 'Content-Type': asset.contentType });
    });
  }
  return routes;
}
