/** docs/api.md: every address of the server, made from the table that describes them. */

import { z } from 'zod';
import type { DescribedRoute } from '../src/web/api/described-route.ts';
import { ROUTES } from '../src/web/api/described-routes.ts';
import { needsWords } from '../src/web/api/openapi.ts';

export function apiDocument(): string {
  const sections = [...Map.groupBy(ROUTES, sectionOf)].map(
    ([name, routes]) => `## ${name}\n\n${routes.map(operation).join('\n')}`,
  );
  return `# HTTP interface

This page is made from the table that also describes the interface to programs, at \`GET /openapi.json\`. A test asks a
real server, and holds every answer to it.

Pages answer with JSON if \`Accept\` prefers \`application/json\`. Programs send \`Authorization: Bearer <token>\`, see
[runs.md](runs.md#who-may-see-what). An error is \`{"error": "a sentence for people", "code": "for programs"}\`; errors of
\`/webhook\` and \`/sync\` have no \`code\`. Besides the answers below, an address with a role answers 400, 401, 403, 404, 409
or 503.

${sections.join('\n')}`;
}

function sectionOf({ path }: DescribedRoute): string {
  const [, first = ''] = path.split('/');
  return first === '' ? 'Overview' : `/${first}`;
}

function operation({ method, path, summary, needs, query, body, answers }: DescribedRoute): string {
  const lines = [
    `### ${method.toUpperCase()} ${path}`,
    '',
    `${summary} ${needsWords(needs)}`,
    '',
    ...(query ? [`- Parameters: ${codes(query)}`] : []),
    ...(body ? [`- Members of the body: ${codes(body)}`] : []),
    ...Object.entries(answers).map(([status, answer]) => `- ${status}: ${answerWords(answer)}`),
    '',
  ];
  return lines.join('\n');
}

function answerWords(answer: DescribedRoute['answers'][number]): string {
  if (answer === null) return 'no JSON';
  if (typeof answer === 'string') return `\`${answer}\``;
  return answer instanceof z.ZodObject ? codes(Object.keys(answer.shape)) : 'JSON';
}

function codes(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ');
}
