/** Finds out whether a machine would take a deployment, and what is missing if none does. */

import { type Fleet, isSilent, type WorkerSign } from '../fleet.ts';
import { kindOf } from '../kinds/kinds.ts';
import type { Run } from '../run.ts';
import { type DeployInput, toolName } from './deployment.ts';

export interface Missing {
  what: 'labels' | 'tool';
  /** One sentence. */
  problem: string;
}

/** Returns null if a live machine would take it, or if no machine is known to be alive. */
export function whatIsMissing(
  input: Pick<DeployInput, 'tool' | 'toolVersion'>,
  labels: readonly string[],
  { workers, now }: Awaited<ReturnType<Fleet['workers']>>,
): Missing | null {
  const alive = workers.filter((worker) => !isSilent(worker, now));
  if (alive.length === 0) return null;
  const withLabels = labels.length === 0 ? '' : ` with ${listed('label', labels)}`;
  const fitting = alive.filter((worker) => hasLabels(worker, labels));
  if (fitting.length === 0) return { what: 'labels', problem: `No machine${withLabels} is alive.` };
  if (fitting.some(({ tools }) => tools === null || tools.includes(toolName(input)))) return null;
  const { tool, toolVersion } = input;
  const wanted = toolVersion === null ? `${tool} on its PATH` : `${tool} ${JSON.stringify(toolVersion)}`;
  const versions = versionsOf(fitting, tool);
  const choice =
    versions.length === 0 ? `No version of ${tool} is installed.` : `Installed: ${versions.join(', ')}.`;
  return { what: 'tool', problem: `No machine${withLabels} that is alive has ${wanted}. ${choice}` };
}

/** Returns why a run will wait until a machine changes, or null. */
export function whyItWaits(run: Run, fleet: Awaited<ReturnType<Fleet['workers']>>): string | null {
  const tool = kindOf(run).machineTool?.(run.input);
  if (!tool || run.state !== 'queued') return null;
  return whatIsMissing(tool, run.labels, fleet)?.problem ?? null;
}

function hasLabels({ labels: own }: WorkerSign, labels: readonly string[]): boolean {
  return own === null || labels.every((label) => own.includes(label));
}

function listed(what: string, names: readonly string[]): string {
  return `the ${what}${names.length === 1 ? '' : 's'} ${names.join(', ')}`;
}

function versionsOf(workers: readonly WorkerSign[], tool: string): string[] {
  const names = new Set(workers.flatMap(({ tools }) => tools ?? []));
  return [...names]
    .filter((name) => name.startsWith(`${tool} `))
    .map((name) => name.slice(tool.length + 1))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}
