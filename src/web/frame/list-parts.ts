/** The parts that the lists of runs and of deliveries share: their filters, and the way to older entries. */

import { html } from 'hono/html';
import type { Html } from './layout.ts';

/** A menu of a filter bar. The empty value stands for all. */
export interface FilterMenu {
  name: string;
  label: string;
  /** What the choice without a value is called. */
  all: string;
  choices: readonly (readonly [value: string, words: string])[];
  value: string | null;
}

export interface FilterField {
  name: string;
  label: string;
  value: string | null;
  /** True for the field that the key `/` leads to. */
  isSearch?: boolean;
}

/** A field of a filter has at most this many characters. */
const MAX_FILTER_LENGTH = 200;

/** A form that works without scripts: its fields become the parameters of the address. */
export function filterBar(path: string, parts: readonly (FilterMenu | FilterField)[]): Html {
  const isUsed = parts.some(({ value }) => value !== null);
  return html`<search><form class="filter-bar" method="get" action="${path}" aria-label="Filter">
${parts.map((part) => ('choices' in part ? menu(part) : field(part)))}
<span class="filter-press"><button type="submit">Filter</button>${isUsed && html` <a href="${path}">Clear</a>`}</span>
</form></search>`;
}

function menu({ name, label, all, choices, value }: FilterMenu): Html {
  const options = choices.map(
    ([choice, words]) =>
      html`<option value="${choice}"${choice === value && html` selected`}>${words}</option>`,
  );
  return html`<label>${label} <select name="${name}"><option value="">${all}</option>${options}</select></label>`;
}

function field({ name, label, value, isSearch = false }: FilterField): Html {
  return html`<label>${label} <input type="${isSearch ? 'search' : 'text'}" name="${name}" value="${value ?? ''}" maxlength="${MAX_FILTER_LENGTH}" autocomplete="off" spellcheck="false"${isSearch && html` data-search`}></label>`;
}

/** Returns the text of a parameter, null if it is left out or empty, and undefined if nothing can be called that. */
export function filterText(asked: string | undefined): string | null | undefined {
  const text = asked?.trim() ?? '';
  if (text.length > MAX_FILTER_LENGTH || /\p{Cc}/u.test(text)) return undefined;
  return text === '' ? null : text;
}

/** `newest` is null on the newest page, `older` on the last one. */
export function pager(newest: string | null, older: string | null): Html | null {
  if (newest === null && older === null) return null;
  return html`<nav class="pager" aria-label="Pages">
${newest && html`<a href="${newest}">Newest</a>`}
${older && html`<a href="${older}" rel="next">Older</a>`}
</nav>`;
}

/** A path with those parameters that are given. */
export function pathWith(path: string, parameters: object): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined) query.set(name, String(value));
  }
  return query.size === 0 ? path : `${path}?${query}`;
}
