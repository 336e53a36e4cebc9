/** Begins a sentence with a capital letter. Pure. */

export function capitalized(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
