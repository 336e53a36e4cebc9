/** Masks secrets in text, also in the encodings in which tools print them. */

/** Masks one line. */
export interface Redactor {
  (line: string): string;
  /** The length of the longest text that it masks, so that a caller does not cut a line inside such a text. 0 without secrets. */
  readonly longestLength: number;
}

const MASK = '****';
/** Shorter secrets would mask half the log. Longer than the mask, so that masking makes text shorter. */
const MIN_SECRET_LENGTH = 6;
/** The line lengths of `base64` and `openssl base64`. */
const BASE64_WRAPS = [76, 64];

/**
 * Returns a function that replaces every secret of at least six characters by `****`: the secret itself, each line of
 * it, and its base64 (at any alignment, wrapped or not), base64url, URL-encoded, JSON-escaped and shell-quoted forms. If
 * matches overlap, all of them are replaced.
 */
export function createRedactor(secrets: Iterable<string>): Redactor {
  const forms = new Set<string>();
  for (const secret of secrets) {
    for (const text of [secret, ...secret.split(/[\r\n]+/).map((line) => line.trim())]) {
      if (text.length < MIN_SECRET_LENGTH) continue;
      for (const form of formsOf(text)) {
        // A form of several lines cannot match a line, and would only make `longestLength` longer.
        if (form.length >= MIN_SECRET_LENGTH && !/[\r\n]/.test(form)) forms.add(form);
      }
    }
  }
  const longestFirst = [...forms].sort((a, b) => b.length - a.length);
  if (longestFirst.length === 0) return Object.assign((line: string) => line, { longestLength: 0 });
  const pattern = new RegExp(longestFirst.map(RegExp.escape).join('|'), 'g');
  return Object.assign((line: string) => maskMatches(line, pattern), {
    longestLength: longestFirst[0]?.length ?? 0,
  });
}

function maskMatches(line: string, pattern: RegExp): string {
  let masked = '';
  let copiedTo = 0;
  let maskedTo = -1;
  pattern.lastIndex = 0;
  for (let match = pattern.exec(line); match !== null; match = pattern.exec(line)) {
    const end = match.index + match[0].length;
    if (match.index > maskedTo) masked += line.slice(copiedTo, match.index) + MASK;
    maskedTo = Math.max(maskedTo, end);
    copiedTo = maskedTo;
    // The next match may begin inside this one.
    pattern.lastIndex = match.index + 1;
  }
  return masked + line.slice(copiedTo);
}

function* formsOf(secret: string): Generator<string> {
  const wellFormed = secret.toWellFormed();
  yield secret;
  yield JSON.stringify(secret).slice(1, -1);
  yield toAsciiJson(secret);
  yield secret.replaceAll("'", `'\\''`);
  const url = encodeURIComponent(wellFormed);
  const form = new URLSearchParams([['', wellFormed]]).toString().slice(1);
  for (const encoded of [url, form]) {
    yield encoded;
    yield encoded.replace(/%../g, (hex) => hex.toLowerCase());
  }
  for (const encoded of base64Forms(Buffer.from(secret))) {
    yield encoded;
    yield encoded.replaceAll('+', '-').replaceAll('/', '_');
  }
}

/** The form of Python's json.dumps. */
function toAsciiJson(secret: string): string {
  const json = JSON.stringify(secret).slice(1, -1);
  return json.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/**
 * In the base64 of a longer text, such as `user:secret`, a secret begins at one of three alignments. The characters that
 * depend only on the bytes of the secret are always the same.
 */
function* base64Forms(secret: Buffer): Generator<string> {
  const whole = secret.toString('base64');
  yield whole;
  yield whole.replace(/=+$/, '');
  for (const bytesBefore of [0, 1, 2]) {
    const encoded = Buffer.concat([Buffer.alloc(bytesBefore), secret]).toString('base64');
    const own = encoded.slice(
      Math.ceil((bytesBefore * 8) / 6),
      Math.floor(((bytesBefore + secret.length) * 8) / 6),
    );
    yield own;
    if (bytesBefore > 0) continue;
    for (const columns of BASE64_WRAPS) {
      for (let start = 0; own.length > columns && start < own.length; start += columns) {
        yield own.slice(start, start + columns);
      }
    }
  }
}
