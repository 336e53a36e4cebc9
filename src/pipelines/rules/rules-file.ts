/** Reads `.iac-runner.yaml`, the rules of a platform repository, with the line and field of every mistake. */

import { toWindow } from '../../sync-window.ts';
import { type FileProblem, parseYamlFile } from '../../yaml-file.ts';
import { findCircle, shownCircle } from './file/circle.ts';
import { type RulesFile, rulesFileSchema, type TerraformFields } from './file/rules-schema.ts';
import { createIdCheck } from './service-id.ts';
import { DEFAULT_RULES, type Rules, type ServiceRule, type TerraformRules } from './service-rules.ts';

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
    typeof entry === 'string'
      ? { path: entry, services: null }
      : { ...entry, services: named(entry.services) },
  );
  const timeouts = Object.entries(file.timeouts ?? {}).map(([id, seconds]) => [id, seconds * 1_000]);
  return {
    services: file.services?.map(toRule) ?? DEFAULT_RULES.services,
    ignore: file.ignore ?? [],
    shared: shared ?? DEFAULT_RULES.shared,
    exclude: file.exclude ?? [],
    needs: file.needs ?? {},
    timeoutsMs: Object.fromEntries(timeouts),
    windows: (file.windows ?? []).map(toWindow),
    requireSignature: file.signatures === 'required',
    environment: DEFAULT_RULES.environment,
    ...(file.terraform ? { terraform: toTerraformRules(file.terraform) } : {}),
  };
}

function toRule({ timeout, ...rule }: NonNullable<RulesFile['services']>[number]): ServiceRule {
  return timeout === undefined ? rule : { ...rule, timeoutMs: timeout * 1_000 };
}

/** The ids that `services` of a shared path names. Null stands for all services. */
function named(services: 'all' | readonly string[]): readonly string[] | null {
  return services === 'all' ? null : services;
}

function toTerraformRules(file: TerraformFields): TerraformRules {
  const usual = { tool: file.tool, toolVersion: file.version ?? null };
  const roots = file.roots?.map((root) => {
    if (typeof root === 'string') return { directory: root, ...usual };
    // The usual version belongs to the usual tool.
    const own = root.tool !== undefined && root.tool !== file.tool ? null : usual.toolVersion;
    return { directory: root.path, tool: root.tool ?? file.tool, toolVersion: root.version ?? own };
  });
  return { ...usual, roots: roots ?? null };
}

/** Ids that no rule can make, with their place in the file. */
function unknownIds(file: RulesFile): { path: PropertyKey[]; id: string }[] {
  const canExist = createIdCheck(file.services ?? DEFAULT_RULES.services);
  const ids = [
    ...(file.shared ?? []).flatMap((entry, index) =>
      typeof entry === 'string' ? [] : idsIn(['shared', index, 'services'], named(entry.services) ?? []),
    ),
    ...idsIn(['exclude'], file.exclude ?? []),
    ...Object.entries(file.needs ?? {}).flatMap(([id, needs]) => [
      { path: ['needs', id], id },
      ...idsIn(['needs', id], needs),
    ]),
    ...Object.keys(file.timeouts ?? {}).map((id) => ({ path: ['timeouts', id], id })),
  ];
  return ids.filter(({ id }) => !canExist(id));
}

function idsIn(path: PropertyKey[], ids: readonly string[]): { path: PropertyKey[]; id: string }[] {
  return ids.map((id, index) => ({ path: [...path, index], id }));
}

function noRuleMakes(id: string): string {
  return `no rule makes a service ${id}; check its spelling, and the ids in \`services\``;
}
