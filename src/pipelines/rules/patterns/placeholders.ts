/** Replaces placeholders such as `{service}` in the texts of a rules file. */

/** Placeholder → the text that it stands for. */
export type Places = Readonly<Record<string, string>>;

/** Other texts in braces, such as `{}` or `{print $1}`, are plain. */
const PLACEHOLDER = /\{([A-Za-z_][A-Za-z0-9_-]*)\}/g;

/** Replaces each placeholder once, and does not look at the result again. Unknown ones stay as they are. */
export function expand(template: string, places: Places): string {
  if (!template.includes('{')) return template;
  return template.replace(PLACEHOLDER, (text, name: string) =>
    Object.hasOwn(places, name) ? (places[name] ?? text) : text,
  );
}

export function placeholdersIn(template: string): string[] {
  return [...template.matchAll(PLACEHOLDER)].map(([, name = '']) => name);
}
