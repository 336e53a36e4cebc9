/** Cleans the output of tasks for terminals and pages: text and SGR colours pass, all other controls do not. */

import { UNSEEN } from '../../runs/texts/unseen-characters.ts';

export interface Span {
  text: string;
  /** The class names of its colours and weight, separated by spaces; absent for plain text. */
  classes?: string;
}

/*
 * ECMA-48 control strings (OSC, DCS, SOS, PM, APC: titles, links, device commands), control sequences (CSI: cursor,
 * clearing, colours), other escapes, and single controls, in the 7-bit and the 8-bit form. An unterminated string
 * loses only its introducer: a task must not be able to hide what follows. The body excludes every introducer, which
 * keeps matching linear.
 */
const CONTROLS = new RegExp(
  [
    '(?:\\x1b[\\]PX^_]|[\\x9d\\x90\\x98\\x9e\\x9f])[^\\x07\\x1b\\x90\\x98\\x9c-\\x9f]*(?:\\x07|\\x1b\\\\|\\x9c)',
    '(?:\\x1b\\[|\\x9b)([0-?]*)([ -/]*)([@-~])',
    '\\x1b[ -/]*[0-~]',
    // A run of these is one match, because a line may consist of nothing else. V8 needs stack for each repetition of a
    // group, so the run of a group is limited.
    '\\r+',
    `${UNSEEN}{1,1000}`,
    '[\\x00-\\x08\\x0a-\\x1f\\x7f-\\x9f]',
  ].join('|'),
  'gu',
);

type Token = { kind: 'text'; text: string } | { kind: 'sgr'; parameters: string };

function* tokens(line: string): Generator<Token> {
  const text = line.endsWith('\r') ? line.slice(0, -1) : line;
  let end = 0;
  for (const match of text.matchAll(CONTROLS)) {
    if (match.index > end) yield { kind: 'text', text: text.slice(end, match.index) };
    end = match.index + match[0].length;
    const [control, parameters = '', intermediates, final] = match;
    if (final === 'm' && intermediates === '' && /^[\d;:]*$/.test(parameters)) {
      yield { kind: 'sgr', parameters };
    }
    const visible = visibleControl(control);
    if (visible !== '') yield { kind: 'text', text: visible };
  }
  if (end < text.length) yield { kind: 'text', text: text.slice(end) };
}

/**
 * Characters that are invisible, or that reorder or overwrite text, are shown by name instead of dropped, so that the
 * reader is not deceived. All other controls become ''. `control` may be a run of characters that are shown.
 */
function visibleControl(control: string): string {
  if (control.startsWith('\r')) return '␍'.repeat(control.length);
  if (control.charCodeAt(0) <= 0x9f) return '';
  let text = '';
  for (const character of control) text += nameOf(character);
  return text;
}

/** The names that were made so far. They are kept, because there are only a few thousand such characters. */
const names = new Map<string, string>();

function nameOf(character: string): string {
  const known = names.get(character);
  if (known !== undefined) return known;
  const code = character.codePointAt(0) ?? 0;
  const name = `<U+${code.toString(16).toUpperCase().padStart(4, '0')}>`;
  names.set(character, name);
  return name;
}

/** One line of output for a terminal, with its colours. */
export function terminalLine(line: string): string {
  let text = '';
  let coloured = false;
  for (const token of tokens(line)) {
    text += token.kind === 'text' ? token.text : `\x1b[${token.parameters}m`;
    coloured ||= token.kind === 'sgr';
  }
  // A line must not paint the ones after it.
  const reset = text.endsWith('\x1b[0m') || text.endsWith('\x1b[m');
  return coloured && !reset ? `${text}\x1b[0m` : text;
}

/** Text that others wrote (the subject of a commit, a path, a message) without any control. */
export function plainLine(text: string): string {
  let plain = '';
  for (const token of tokens(text)) if (token.kind === 'text') plain += token.text;
  return plain;
}

/** One line of output as styled text for a page. Each line starts without style, so that any line can come first. */
export function styledLine(line: string): Span[] {
  const spans: Span[] = [];
  let style = PLAIN;
  for (const token of tokens(line)) {
    if (token.kind === 'sgr') {
      style = applySgr(style, token.parameters);
      continue;
    }
    const classes = classesOf(style);
    const last = spans.at(-1);
    if (last && (last.classes ?? '') === classes) last.text += token.text;
    else spans.push(classes === '' ? { text: token.text } : { text: token.text, classes });
  }
  return spans;
}

const ATTRIBUTES = ['bold', 'faint', 'italic', 'underline', 'inverse'] as const;

type Style = Record<(typeof ATTRIBUTES)[number], boolean> & {
  /** One of the 16 colours, or null for the page's own. */
  foreground: number | null;
  background: number | null;
};

const PLAIN: Style = {
  bold: false,
  faint: false,
  italic: false,
  underline: false,
  inverse: false,
  foreground: null,
  background: null,
};

const SWITCHES = new Map<number, Partial<Style>>([
  [0, PLAIN],
  [1, { bold: true }],
  [2, { faint: true }],
  [3, { italic: true }],
  [4, { underline: true }],
  [7, { inverse: true }],
  [21, { bold: false }],
  [22, { bold: false, faint: false }],
  [23, { italic: false }],
  [24, { underline: false }],
  [27, { inverse: false }],
  [39, { foreground: null }],
  [49, { background: null }],
]);

/** Concealed text (8) stays visible on purpose; unknown parameters change nothing. */
function applySgr(style: Style, parameters: string): Style {
  const codes = parameters.split(/[;:]/).map(Number);
  let next = style;
  for (let index = 0; index < codes.length; index += 1) {
    const code = codes[index] ?? 0;
    if (code === 38 || code === 48) {
      const extended = readExtendedColour(codes.slice(index + 1, index + 5));
      next = { ...next, [code === 38 ? 'foreground' : 'background']: extended.colour };
      index += extended.width;
    } else if (code >= 30 && code <= 37) next = { ...next, foreground: code - 30 };
    else if (code >= 40 && code <= 47) next = { ...next, background: code - 40 };
    else if (code >= 90 && code <= 97) next = { ...next, foreground: code - 82 };
    else if (code >= 100 && code <= 107) next = { ...next, background: code - 92 };
    else next = { ...next, ...SWITCHES.get(code) };
  }
  return next;
}

/** The red, green and blue of a colour, from 0 to 255. */
type Rgb = readonly [red: number, green: number, blue: number];

/** Reads `5;n` or `2;r;g;b` after 38 or 48, as the nearest of the 16 colours. `width` counts the parameters. */
function readExtendedColour([mode, a = 0, b = 0, c = 0]: number[]): { colour: number | null; width: number } {
  if (mode === 2) return { colour: nearestColour([a, b, c]), width: 4 };
  if (mode !== 5) return { colour: null, width: 1 };
  return { colour: a < 16 ? a : nearestColour(rgbOf(a)), width: 2 };
}

/** The colours of xterm from 16: a cube with six levels for each part, then greys from 232. */
function rgbOf(colour: number): Rgb {
  if (colour > 231) {
    const grey = 8 + (colour - 232) * 10;
    return [grey, grey, grey];
  }
  const level = (part: number) => (part === 0 ? 0 : 55 + part * 40);
  const cube = colour - 16;
  return [level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6)];
}

/** The 16 colours of xterm. */
const PALETTE: readonly Rgb[] = [
  [0, 0, 0],
  [205, 0, 0],
  [0, 205, 0],
  [205, 205, 0],
  [0, 0, 238],
  [205, 0, 205],
  [0, 205, 205],
  [229, 229, 229],
  [127, 127, 127],
  [255, 0, 0],
  [0, 255, 0],
  [255, 255, 0],
  [92, 92, 255],
  [255, 0, 255],
  [0, 255, 255],
  [255, 255, 255],
];

function nearestColour([red, green, blue]: Rgb): number {
  const distances = PALETTE.map(([r, g, b]) => (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2);
  return distances.indexOf(Math.min(...distances));
}

function classesOf(style: Style): string {
  const { inverse, foreground, background } = style;
  const [front, back] = inverse ? [background, foreground] : [foreground, background];
  const isColoured = front !== null || back !== null;
  // Inverse colours are exchanged here, so that only text without any colour needs the class.
  const classes: string[] = ATTRIBUTES.filter((name) => style[name] && !(name === 'inverse' && isColoured));
  if (front !== null) classes.push(`fg-${front}`);
  // Text in the colour of its background could not be read.
  if (back !== null && back !== front) classes.push(`bg-${back}`);
  return classes.join(' ');
}
