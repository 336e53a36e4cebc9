/** The parts that the lists of runs and of deliveries share: their filters, and the way to older entries. */

import { html } from 'hono/html';
import type { Html } from './layout.ts';

/** A choice of a filter: null stands for all. */
export function filterNav<Choice extends string>(
  name: string,
  choices: readonly Choice[],
  current: Choice | null,
  { path, word }: { path(choice: Choice | null): string; word(choice: Choice | null): string },
): Html {
  const links = [null, ...choices].map(
    (choice) =>
      html`<li><a href="${path(choice)}"${choice === current && html` aria-current="page"`}>${word(choice)}</a></li>`,
  );
  return html`<nav aria-label="Filter by ${name}"><ul class="filter">${links}</ul></nav>`;
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
export function pathWith(
  path: string,
  parameters: Record<string, string | number | null | undefined>,
): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined) query.set(name, String(value));
  }
  return query.size === 0 ? path : `${path}?${query}`;
}
