/** Replaces secrets in text, also in the encodings in which tools print them. */

/** Masks one line. */
export interface Redactor {
  (line: string): string;
  /** Length of the longest text it recognises, so that nobody cuts a line inside of one. 0 without secrets. */
  readonly longestLength: number;
}

const MASK = '****';
/** Shorter ones would mask half the log and protect nothing. Longer than the mask, so that masking shrinks. */
const MIN_SECRET_LENGTH = 6;
/** Line lengths at which `base64` and `openssl base64` wrap their output. */
const BASE64_WRAPS = [76, 64];

/**
 * Builds a function that replaces every secret of at least six characters by `****`: as it is, each line of
 * it, and its base64 (at any alignment, wrapped or not), base64url, URL-encoded, JSON-escaped and
 * shell-quoted forms. Where matches overlap, all of them go.
 */
export function createRedactor(secrets: Iterable<string>): Redactor {
  const forms = new Set<string>();
  for (const secret of secrets) {
    for (const text of [secret, ...secret.split(/[\r\n]+/).map((line) => line.trim())]) {
      if (text.length < MIN_SECRET_LENGTH) continue;
      for (const form of formsOf(text)) {
        // A line never holds a form of several lines; it would only make `longestLength` longer.
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
    // The next one may begin inside of this one.
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

/** As json.dumps of Python writes it. */
function toAsciiJson(secret: string): string {
  const json = JSON.stringify(secret).slice(1, -1);
  return json.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/**
 * Within the base64 of a longer text, e.g. of `user:secret`, a secret begins at one of three alignments; the
 * characters that only its own bytes decide are always the same.
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
