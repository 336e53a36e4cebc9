import { gunzipSync } from 'node:zlib';
import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { createAssetRoutes, loadAssets } from './assets.ts';
import { compressTexts } from './compression.ts';

const TEXT = 'a line of a log\n'.repeat(500);

function createApp() {
  const app = new Hono();
  app.use(compressTexts());
  app.get('/page', (c) => c.html(TEXT));
  app.get('/json', (c) => c.json({ text: TEXT }));
  app.get('/events', (c) => c.body(TEXT, 200, { 'Content-Type': 'text/event-stream' }));
  app.route('/', createAssetRoutes(loadAssets()));
  return app;
}

const ask = (path: string, headers: Record<string, string> = { 'Accept-Encoding': 'br, gzip' }) =>
  createApp().request(path, { headers });

describe('answers', () => {
  it.each(['/page', '/json', '/assets/app.css'])(
    'are compressed for those who accept it: %s',
    async (path) => {
      const plain = await (await ask(path, {})).text();
      const answer = await ask(path);
      expect(answer.headers.get('Content-Encoding')).toBe('gzip');
      expect(answer.headers.get('Vary')).toContain('Accept-Encoding');
      const bytes = Buffer.from(await answer.arrayBuffer());
      expect(bytes.length).toBeLessThan(plain.length / 2);
      expect(gunzipSync(bytes).toString()).toBe(plain);
    },
  );

  it('are not compressed for others, nor are event streams', async () => {
    expect((await ask('/page', {})).headers.get('Content-Encoding')).toBeNull();
    expect((await ask('/page', { 'Accept-Encoding': 'br' })).headers.get('Content-Encoding')).toBeNull();
    const events = await ask('/events');
    expect([events.headers.get('Content-Encoding'), await events.text()]).toEqual([null, TEXT]);
  });

  it('with a style sheet that the browser has are empty, also if it got it compressed', async () => {
    const etag = (await ask('/assets/app.css')).headers.get('ETag') ?? '';
    const headers = { 'Accept-Encoding': 'gzip', 'If-None-Match': etag };
    expect((await ask('/assets/app.css', headers)).status).toBe(304);
  });
});
