/** Reads `.iac-runner.yaml`, the rules of a platform repository, with the line and field of every mistake. */

import { z } from 'zod';
import { TOOLS } from '../../runs/deployments/deployment.ts';
import { type FileProblem, parseYamlFile } from '../../yaml-file.ts';
import { createIdCheck } from '../selection/named-services.ts';
import type { SyncWindow } from '../sync/sync-windows.ts';
import { DEFAULT_RULES, type Rules, type TerraformRules } from './service-rules.ts';

const serviceId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._/-]*$/, 'expected a service id such as platform/postgres')
  .describe('A service id such as platform/postgres');

const repositoryPath = z
  .string()
  .regex(
    /^(?!\/)(?![\s\S]*(^|\/)\.{1,2}(\/|$))[^\0]+[^/\0]$|^[^/.\0]$/,
    'expected a path in the repository, without ".." and without a slash at its ends',
  )
  .describe('A file or folder of the repository, e.g. libs/common');

const matchPattern = z
  .string()
  .regex(
    /^([A-Za-z0-9_][A-Za-z0-9._-]*\/)+\{nn\}\.\{service\}\/[A-Za-z0-9._-]+$/,
    'expected folders, then {nn}.{service}/ and a file name, e.g. platform/{nn}.{service}/deploy.py',
  )
  .describe('The file that makes a folder a service, e.g. platform/{nn}.{service}/deploy.py');

const clock = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'expected a time of day such as "22:30"')
  .describe('A time of day, e.g. "22:30"');

const serviceRule = z.strictObject({
  match: matchPattern,
  id: z
    .string()
    .regex(/^[A-Za-z0-9._/-]*\{service\}$/, 'expected an id that ends in {service}')
    .describe('The id of such a service, e.g. platform/{service}'),
  task: z
    .string()
    .regex(
      /^[A-Za-z0-9_][A-Za-z0-9._-]*$|^[A-Za-z0-9_.-]*\{service\}[A-Za-z0-9._-]*$/,
      'expected the name of an invoke task',
    )
    .refine((task) => !task.startsWith('-'), 'expected the name of an invoke task')
    .nullable()
    .describe('The invoke task that syncs it, e.g. "{service}.sync"; null for folders that are never run'),
});

const sharedPath = z.union([
  repositoryPath,
  z.strictObject({
    path: repositoryPath,
    services: z.array(serviceId).min(1).describe('Only these depend on it'),
  }),
]);

const window = z.strictObject({
  days: z.array(z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])).min(1),
  from: clock,
  to: clock,
  timezone: z
    .string()
    .refine(isTimeZone, 'expected a time zone such as Europe/Berlin')
    .default('UTC')
    .describe('IANA name, e.g. Europe/Berlin'),
});

const tool = z.enum(TOOLS);
const toolVersion = z
  .string()
  .regex(/^[0-9][0-9A-Za-z.+-]{0,63}$/, 'expected a version such as "1.11.4"')
  .describe('A version that is installed on the runner, e.g. "1.11.4"');
const rootPath = z
  .union([z.literal('.'), repositoryPath])
  .describe('The folder of a root module, "." for the top');

const terraform = z.strictObject({
  tool: tool.default('terraform'),
  version: toolVersion.optional(),
  roots: z
    .array(
      z.union([
        rootPath,
        z.strictObject({ path: rootPath, tool: tool.optional(), version: toolVersion.optional() }),
      ]),
    )
    .min(1)
    .optional()
    .describe('In place of those found by their files'),
});

/** The fields of the file. The published JSON Schema is made from this. */
export const rulesFileSchema = z
  .strictObject({
    services: z.array(serviceRule).min(1).optional().describe('In place of the built-in rules'),
    shared: z.array(sharedPath).optional().describe('In place of the built-in shared paths'),
    exclude: z.array(serviceId).optional().describe('Services that are listed, but never run'),
    needs: z
      .record(serviceId, z.array(serviceId))
      .optional()
      .describe('Service → services that go before it'),
    timeouts: z
      .record(serviceId, z.number().int().min(1).max(86_400))
      .optional()
      .describe('Service → seconds its task may take'),
    windows: z.array(window).optional().describe('When syncs may run; others wait'),
    terraform: terraform.optional().describe('Root modules that pull requests are planned for'),
    signatures: z.enum(['required', 'optional']).optional().describe('Whether commits must be signed'),
  })
  .describe('Rules of a platform repository for iac-runner');

type RulesFile = z.output<typeof rulesFileSchema>;

const MAX_UNKNOWN = 20;

export type ParsedRules = { ok: true; rules: Rules } | { ok: false; problems: FileProblem[] };

/** Never throws. Each problem has a line and a field. */
export function parseRulesFile(text: string): ParsedRules {
  const parsed = parseYamlFile(text, rulesFileSchema);
  if (!parsed.ok) return parsed;
  const unknown = unknownIds(parsed.value).slice(0, MAX_UNKNOWN);
  if (unknown.length > 0) {
    return { ok: false, problems: unknown.map(({ path, id }) => parsed.problemAt(path, noRuleMakes(id))) };
  }
  const circle = findCircle(parsed.value.needs ?? {});
  if (circle) {
    const problem = parsed.problemAt(
      ['needs', circle[0] ?? ''],
      `these need each other: ${shownCircle(circle)}`,
    );
    return { ok: false, problems: [problem] };
  }
  return { ok: true, rules: toRules(parsed.value) };
}

export { describeProblem } from '../../yaml-file.ts';

function toRules(file: RulesFile): Rules {
  const shared = file.shared?.map((entry) =>
    typeof entry === 'string' ? { path: entry, services: null } : entry,
  );
  const timeouts = Object.entries(file.timeouts ?? {}).map(([id, seconds]) => [id, seconds * 1_000]);
  return {
    services: file.services ?? DEFAULT_RULES.services,
    shared: shared ?? DEFAULT_RULES.shared,
    exclude: file.exclude ?? [],
    needs: file.needs ?? {},
    timeoutsMs: Object.fromEntries(timeouts),
    windows: (file.windows ?? []).map(toWindow),
    requireSignature: file.signatures === 'required',
    ...(file.terraform ? { terraform: toTerraformRules(file.terraform) } : {}),
  };
}

function toTerraformRules(file: z.output<typeof terraform>): TerraformRules {
  const usual = { tool: file.tool, toolVersion: file.version ?? null };
  const roots = file.roots?.map((root) => {
    if (typeof root === 'string') return { directory: root, ...usual };
    // The usual version belongs to the usual tool.
    const own = root.tool !== undefined && root.tool !== file.tool ? null : usual.toolVersion;
    return { directory: root.path, tool: root.tool ?? file.tool, toolVersion: root.version ?? own };
  });
  return { ...usual, roots: roots ?? null };
}

function toWindow({ days, from, to, timezone }: z.output<typeof window>): SyncWindow {
  return { days, fromMinute: minutes(from), toMinute: minutes(to), timeZone: timezone };
}

function minutes(time: string): number {
  const [hours = 0, minute = 0] = time.split(':').map(Number);
  return hours * 60 + minute;
}

function isTimeZone(name: string): boolean {
  try {
    return Boolean(new Intl.DateTimeFormat('en-US', { timeZone: name }));
  } catch {
    return false;
  }
}

/** Ids that no rule can make, with their place in the file. */
function unknownIds(file: RulesFile): { path: PropertyKey[]; id: string }[] {
  const canExist = createIdCheck(file.services ?? DEFAULT_RULES.services);
  const named = [
    ...(file.shared ?? []).flatMap((entry, index) =>
      typeof entry === 'string' ? [] : idsIn(['shared', index, 'services'], entry.services),
    ),
    ...idsIn(['exclude'], file.exclude ?? []),
    ...Object.entries(file.needs ?? {}).flatMap(([id, needs]) => [
      { path: ['needs', id], id },
      ...idsIn(['needs', id], needs),
    ]),
    ...Object.keys(file.timeouts ?? {}).map((id) => ({ path: ['timeouts', id], id })),
  ];
  return named.filter(({ id }) => !canExist(id));
}

function idsIn(path: PropertyKey[], ids: readonly string[]): { path: PropertyKey[]; id: string }[] {
  return ids.map((id, index) => ({ path: [...path, index], id }));
}

function noRuleMakes(id: string): string {
  return `no rule makes a service ${id}; check its spelling, and the ids in \`services\``;
}

/** A long circle is cut in the middle. */
function shownCircle(circle: string[]): string {
  const shown = circle.length <= 12 ? circle : [...circle.slice(0, 6), '…', ...circle.slice(-5)];
  return shown.join(' → ');
}

/** Services that need each other in a circle. The first one is repeated at the end. Null if there is no circle. */
function findCircle(needs: Readonly<Record<string, readonly string[]>>): string[] | null {
  const needsOf = new Map(Object.entries(needs));
  const done = new Set<string>();
  const trail = new Set<string>();
  // This loop is not recursive, because a chain may be longer than the stack.
  const waiting = [...needsOf.keys()].reverse().map((id) => ({ id, isLeft: false }));
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { id, isLeft } = next;
    if (isLeft) {
      trail.delete(id);
      done.add(id);
    } else if (trail.has(id)) {
      const ids = [...trail];
      return [...ids.slice(ids.indexOf(id)), id];
    } else if (!done.has(id)) {
      trail.add(id);
      waiting.push({ id, isLeft: true });
      for (const need of (needsOf.get(id) ?? []).toReversed()) waiting.push({ id: need, isLeft: false });
    }
  }
  return null;
}
