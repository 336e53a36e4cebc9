/** Folders of root modules as requests name them. Pure. */

const MAX_LENGTH = 1_000;

/** Without empty and "." parts, "." for the top; null for what is absolute, leads outside or is no path. */
export function normalizeDirectory(text: string): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused.
  if (text.length > MAX_LENGTH || /^[/~-]|[\u0000-\u001f\u007f\\]/.test(text)) return null;
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.some((part) => part === '..' || part.toLowerCase() === '.git')) return null;
  return parts.join('/') || '.';
}
