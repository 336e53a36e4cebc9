/** Ports for servers whose address must be known before they listen, or on which no server ever listens. */

import { createServer } from 'node:net';

/** Returns a port of the loopback interface on which no server listens at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new Error('There is no free port.');
  return address.port;
}

/** Returns the settings that make a server listen on a free port, with links to that port. */
export async function reachableAddress(): Promise<{ WEBHOOK_PORT: string; PUBLIC_URL: string }> {
  const port = await freePort();
  return { WEBHOOK_PORT: `${port}`, PUBLIC_URL: `http://127.0.0.1:${port}` };
}
