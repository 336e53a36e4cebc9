/** Describes the HTTP interface as OpenAPI 3.1, from the table of routes. */

import { Hono } from 'hono';
import { z } from 'zod';
import { VERSION } from '../../version.ts';
import { errorAnswer } from './answers.ts';
import type { DescribedRoute } from './described-route.ts';
import { ROUTES } from './described-routes.ts';

const DESCRIPTIONS: Readonly<Record<number, string>> = {
  200: 'It was done.',
  201: 'It was made.',
  202: 'It was accepted.',
  204: 'It was done; there is nothing to say.',
  303: 'Leads to a page.',
  400: 'The request is wrong. Nothing was changed.',
  401: 'The credentials are missing or wrong.',
  403: 'The role of the caller is not enough.',
  404: 'There is no such thing.',
  409: 'It is not possible now.',
  503: 'It could not be stored or read. Send it again later.',
};

function openApiDocument() {
  const paths = Map.groupBy(ROUTES, ({ path }) => path);
  return {
    openapi: '3.1.0',
    info: {
      title: 'iac-runner',
      version: VERSION,
      description: 'Pages answer with JSON if `Accept` prefers `application/json`.',
    },
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    paths: Object.fromEntries(
      [...paths].map(([path, routes]) => [
        path,
        Object.fromEntries(routes.map((route) => [route.method, operationOf(route)])),
      ]),
    ),
  };
}

function operationOf({ path, summary, needs, query = [], body, answers }: DescribedRoute) {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  const parameter = (name: string, place: 'path' | 'query') => ({
    name,
    in: place,
    required: place === 'path',
    schema: { type: 'string' },
  });
  const failures = needs === 'none' ? [] : [400, 401, 403, 404, 409, 503];
  const responses = [
    ...Object.entries(answers).map(
      ([status, answer]) => [status, responseOf(Number(status), answer)] as const,
    ),
    ...failures
      .filter((status) => !(status in answers))
      .map((status) => [String(status), responseOf(status, errorAnswer)] as const),
  ];
  return {
    summary,
    description: needsWords(needs),
    ...(needs !== 'none' && needs !== 'signed' && { security: [{ token: [] }] }),
    parameters: [
      ...inPath.map((name) => parameter(name, 'path')),
      ...query.map((name) => parameter(name, 'query')),
    ],
    ...(body && { requestBody: bodyOf(body) }),
    responses: Object.fromEntries(responses),
  };
}

export function needsWords(needs: DescribedRoute['needs']): string {
  switch (needs) {
    case 'none':
      return 'For everybody.';
    case 'signed':
      return 'Needs a signature.';
    case 'link':
      return 'Needs the role viewer, or the signed link of the run.';
    default:
      return `Needs the role ${needs}.`;
  }
}

function bodyOf(members: readonly string[]) {
  const properties = Object.fromEntries(members.map((name) => [name, {}]));
  return {
    content: { 'application/json': { schema: { type: 'object', properties, additionalProperties: false } } },
  };
}

function responseOf(status: number, answer: DescribedRoute['answers'][number]) {
  const description = DESCRIPTIONS[status] ?? '';
  if (answer === null || answer === undefined) return { description };
  if (typeof answer === 'string') return { description, content: { [answer]: {} } };
  const { $schema: _version, ...schema } = z.toJSONSchema(answer);
  return { description, content: { 'application/json': { schema } } };
}

/** GET /openapi.json, for everybody: it says nothing about what is deployed. */
export function createOpenApiRoutes(): Hono {
  const routes = new Hono();
  const document = JSON.stringify(openApiDocument());
  routes.get('/openapi.json', (c) => c.body(document, 200, { 'Content-Type': 'application/json' }));
  return routes;
}
