/** GitHub's published OpenAPI description, which checks requests to GitHub and the local GitHub's answers. */

import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import { z } from 'zod';
import { type Description, readDescription } from './github-description.ts';

interface CheckedRequest {
  method: string;
  /** The path, still percent-encoded, without the query. */
  path: string;
  query: URLSearchParams;
  /** Undefined if there is none. */
  body: unknown;
}

export interface CheckResult {
  /** e.g. `repos/create-commit-status` */
  operation: string;
  parameters: Record<string, string>;
  /** Everything that the description does not allow. Empty for a correct request. */
  problems: string[];
}

export interface GithubContract {
  /** Null if GitHub has no such method and path. */
  check(request: CheckedRequest): CheckResult | null;
  /** Lists the mistakes in an answer of the local GitHub, so that it stays like the real one. */
  checkAnswer(operation: string, status: number, body: unknown): string[];
}

const parameterSchema = z.object({
  name: z.string(),
  in: z.string(),
  required: z.boolean().default(false),
  schema: z.record(z.string(), z.unknown()),
  'x-multi-segment': z.boolean().default(false),
});
const operationSchema = z.object({
  operationId: z.string(),
  parameters: z.array(z.union([z.object({ $ref: z.string() }), parameterSchema])).default([]),
  requestBody: z
    .object({
      content: z.record(
        z.string(),
        z.object({ schema: z.looseObject({ properties: z.looseObject({}).optional() }) }),
      ),
    })
    .optional(),
});
type Parameter = z.infer<typeof parameterSchema>;

interface Operation {
  id: string;
  parameters: Parameter[];
  bodyProperties: string[] | null;
  pointer: string;
  path: RegExp;
  pathNames: string[];
}

let contract: GithubContract | undefined;

/** Reads the description on first use. An operation is compiled when it is first used. */
export function githubContract(): GithubContract {
  contract ??= createContract(readDescription());
  return contract;
}

function createContract(description: Description): GithubContract {
  const operations = createOperationFinder(description);
  const bodies = createAjv({});
  // Ajv cannot check the document against a meta-schema: it is an OpenAPI document that contains schemas, not a
  // schema.
  bodies.addSchema(description, 'github', undefined, false);
  // Values in a URL are text, so numbers and booleans are parsed from it.
  const urls = createAjv({ coerceTypes: true });
  const compiled = new Map<string, ValidateFunction>();

  function validator(key: string, compile: () => ValidateFunction): ValidateFunction {
    const known = compiled.get(key) ?? compile();
    compiled.set(key, known);
    return known;
  }

  function checkParameters(operation: Operation, place: string, values: Record<string, string>): string[] {
    const schema = (): ValidateFunction => urls.compile(parametersSchema(operation.parameters, place));
    return problemsOf(validator(`${operation.pointer} ${place}`, schema), { ...values }, place);
  }

  function checkBody(operation: Operation, body: unknown): string[] {
    const { bodyProperties, pointer } = operation;
    if (bodyProperties === null) return body === undefined ? [] : ['body: this operation takes none'];
    if (body === undefined) return ['body: missing'];
    const $ref = `github#${pointer}/requestBody/content/application~1json/schema`;
    const names = typeof body === 'object' && body !== null ? Object.keys(body) : [];
    const unknown = names.filter((name) => !bodyProperties.includes(name));
    return [
      ...problemsOf(
        validator($ref, () => bodies.compile({ $ref })),
        body,
        'body',
      ),
      ...unknown.map((name) => `body: ${name} is no field of this operation`),
    ];
  }

  return {
    check(request) {
      const found = operations.find(request.method, request.path);
      if (!found) return null;
      const { operation, parameters } = found;
      const problems = [
        ...checkParameters(operation, 'path', parameters),
        ...checkParameters(operation, 'query', Object.fromEntries(request.query)),
        ...checkBody(operation, request.body),
      ];
      return { operation: operation.id, parameters, problems };
    },
    checkAnswer(id, status, body) {
      const $ref = `github#${operations.byId(id).pointer}/responses/${status}/content/application~1json/schema`;
      return problemsOf(
        validator($ref, () => bodies.compile({ $ref })),
        body,
        'answer',
      );
    },
  };
}

function createAjv(options: { coerceTypes?: boolean }): Ajv {
  const ajv = new Ajv({ ...options, strict: false, validateSchema: false, allErrors: true });
  addFormats.default(ajv);
  return ajv;
}

/** Refuses undeclared names, because GitHub would ignore them and we would believe that they have an effect. */
function parametersSchema(parameters: Parameter[], place: string): object {
  const here = parameters.filter((parameter) => parameter.in === place);
  return {
    type: 'object',
    properties: Object.fromEntries(here.map(({ name, schema }) => [name, schema])),
    required: here.filter(({ required }) => required).map(({ name }) => name),
    additionalProperties: false,
  };
}

function problemsOf(validate: ValidateFunction, value: unknown, place: string): string[] {
  if (validate(value)) return [];
  return (validate.errors ?? []).map((error: ErrorObject) => {
    const { additionalProperty } = error.params;
    const extra = additionalProperty === undefined ? '' : ` (${additionalProperty})`;
    return `${place}${error.instancePath}: ${error.message ?? error.keyword}${extra}`;
  });
}

interface OperationFinder {
  find(method: string, path: string): { operation: Operation; parameters: Record<string, string> } | null;
  byId(id: string): Operation;
}

function createOperationFinder({ paths, components }: Description): OperationFinder {
  const byPointer = new Map<string, Operation>();
  // The most exact of the matching routes has the fewest parameters, and then the longest template.
  const vagueness = (template: string): number => template.split('{').length * 1_000 - template.length;
  const templates = Object.keys(paths).sort((a, b) => vagueness(a) - vagueness(b));

  function read(template: string, method: string, raw: unknown): Operation {
    const pointer = `/paths/${template.replaceAll('~', '~0').replaceAll('/', '~1')}/${method}`;
    const known =
      byPointer.get(pointer) ?? readOperation(template, pointer, operationSchema.parse(raw), components);
    byPointer.set(pointer, known);
    return known;
  }

  return {
    find(method, path) {
      for (const template of templates) {
        const raw = paths[template]?.[method.toLowerCase()];
        if (raw === undefined || !template.startsWith(`/${path.split('/')[1] ?? ''}`)) continue;
        const operation = read(template, method.toLowerCase(), raw);
        const values = operation.path.exec(path)?.slice(1).map(decodeURIComponent);
        if (!values) continue;
        return {
          operation,
          parameters: Object.fromEntries(operation.pathNames.map((n, i) => [n, values[i] ?? ''])),
        };
      }
      return null;
    },
    byId(id) {
      const operation = [...byPointer.values()].find((candidate) => candidate.id === id);
      if (!operation) throw new Error(`No request to ${id} has been checked yet.`);
      return operation;
    },
  };
}

function readOperation(
  template: string,
  pointer: string,
  raw: z.infer<typeof operationSchema>,
  components: Description['components'],
): Operation {
  const parameters = raw.parameters.map((parameter) =>
    '$ref' in parameter
      ? parameterSchema.parse(components.parameters?.[parameter.$ref.split('/').at(-1) ?? ''])
      : parameter,
  );
  const wide = new Set(parameters.filter((p) => p['x-multi-segment']).map((p) => p.name));
  const pathNames = [...template.matchAll(/\{([^}]+)\}/g)].map((match) => match[1] ?? '');
  const pattern = template
    .replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&')
    .replaceAll(/\{([^}]+)\}/g, (_, name: string) => (wide.has(name) ? '(.+)' : '([^/]+)'));
  const body = raw.requestBody?.content['application/json']?.schema;
  return {
    id: raw.operationId,
    parameters,
    bodyProperties: body ? Object.keys(body.properties ?? {}) : null,
    pointer,
    path: new RegExp(`^${pattern}$`),
    pathNames,
  };
}
