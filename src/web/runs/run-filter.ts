/** The filter of the list of runs: how its parameters are read, and its bar on the page. */

import { kindOf, RUN_KINDS } from '../../runs/kinds/kinds.ts';
import { RUN_STATES, type RunKind, type RunState } from '../../runs/run.ts';
import type { RunFilter } from '../../runs/run-store.ts';
import type { Html } from '../frame/layout.ts';
import { filterBar, filterText, pathWith } from '../frame/list-parts.ts';
import { stateWord } from './run-words.ts';

/** What the runs that are listed have in common; null for any. */
export interface RunListFilter {
  kind: RunKind | null;
  state: RunState | null;
  service: string | null;
  environment: string | null;
  branch: string | null;
  q: string | null;
}

const TEXTS = ['service', 'environment', 'branch', 'q'] as const;

/** Returns one sentence instead if a parameter is wrong. */
export function readRunFilter(query: Readonly<Record<string, string>>): RunListFilter | string {
  const { kind: askedKind = '', state: askedState = '' } = query;
  const kind = RUN_KINDS.find((known) => known === askedKind) ?? null;
  const state = RUN_STATES.find((known) => known === askedState) ?? null;
  if (askedKind !== '' && kind === null) return `Kind must be one of ${RUN_KINDS.join(', ')}.`;
  if (askedState !== '' && state === null) return `State must be one of ${RUN_STATES.join(', ')}.`;
  const filter: RunListFilter = { kind, state, service: null, environment: null, branch: null, q: null };
  for (const name of TEXTS) {
    const text = filterText(query[name]);
    if (text === undefined) return `The parameter ${name} must be one line of at most 200 characters.`;
    filter[name] = text;
  }
  return filter;
}

/** The filter in the words of the store, without what is not asked for. */
export function storeFilter({ q, ...filter }: RunListFilter): Omit<RunFilter, 'limit'> {
  return Object.fromEntries(Object.entries({ ...filter, text: q }).filter(([, value]) => value !== null));
}

export function listPath(filter: RunListFilter, before?: string): string {
  return pathWith('/runs', { ...filter, before });
}

export function runFilterBar({ kind, state, service, environment, branch, q }: RunListFilter): Html {
  return filterBar('/runs', [
    { name: 'q', label: 'Search', value: q, isSearch: true },
    {
      name: 'state',
      label: 'State',
      all: 'all states',
      choices: RUN_STATES.map((one) => [one, stateWord(one)] as const),
      value: state,
    },
    {
      name: 'kind',
      label: 'Kind',
      all: 'all kinds',
      choices: RUN_KINDS.map((one) => [one, kindOf({ kind: one }).plural] as const),
      value: kind,
    },
    { name: 'service', label: 'Service', value: service },
    { name: 'environment', label: 'Environment', value: environment },
    { name: 'branch', label: 'Branch', value: branch },
  ]);
}
