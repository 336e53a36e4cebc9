/** Normalises the folder of a root module in a request. Pure. */

const MAX_LENGTH = 1_000;

/** Removes empty and "." parts; "." means the top. Null if the text is absolute, leads outside or is no path. */
export function normalizeDirectory(text: string): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the expression refuses them.
  if (text.length > MAX_LENGTH || /^[/~-]|[\u0000-\u001f\u007f\\]/.test(text)) return null;
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.some((part) => part === '..' || part.toLowerCase() === '.git')) return null;
  return parts.join('/') || '.';
}
