/** The smallest program that starts and stops like the server, to test the test support alone. */

import { createServer } from 'node:http';

const { STAND_IN } = process.env;

if (STAND_IN === 'refuses') {
  console.error('WEBHOOK_SECRET is missing');
  process.exit(2);
}

const server = createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  if (request.url === '/health') response.end('{"status":"healthy"}');
  else response.end(JSON.stringify({ url: request.url, headers: request.headers, env: process.env }));
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  const url = typeof address === 'object' ? `http://127.0.0.1:${address?.port}` : '';
  console.log('not json');
  console.log(JSON.stringify({ level: 30, msg: 'listening', url }));
});
process.on('SIGTERM', () => {
  if (STAND_IN !== 'ignores TERM') process.exit(0);
});
