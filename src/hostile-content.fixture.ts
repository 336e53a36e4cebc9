/** Content that makes careless parsers slow: always the same, so that a failure can be repeated. */

/** Runs the work and returns the longest time, in milliseconds of this thread's CPU, that nothing else got a turn. */
export async function longestTurnMs(work: () => unknown): Promise<number> {
  let longest = 0;
  let isRunning = true;
  let before = cpuMs();
  function turn(): void {
    const now = cpuMs();
    longest = Math.max(longest, now - before);
    before = now;
    if (isRunning) setImmediate(turn);
  }
  const done = (async () => work())();
  turn();
  try {
    await done;
  } finally {
    turn();
    isRunning = false;
  }
  return longest;
}

/** CPU time of this thread alone: other programs on a busy machine add nothing to it. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

const CHARACTERS = [
  ...'a.-_ \t\n\r,:;|>&*!%@#?\'"`~\\/[]{}()<>=+0\u00df\u200b\u202e\x1b\0',
  '\r\n',
  '\ud800',
  '\u{1f600}',
];

const PIECES = [
  '- ',
  '? ',
  'a: ',
  'a:\n',
  '{? ',
  '{[',
  '[{',
  '[]',
  '[a,',
  '{a:',
  '&a ',
  '---\n',
  '\n\n ',
  ' \n',
  '../',
  '/../',
  'a/',
  '<!--',
  '-->',
  '<a ',
  '```\n',
  '~~~\n',
  '> ',
  '**a',
  '[a](',
  '![',
  '@a ',
  '\x1b[',
  '\x1b[3',
  '\x1b[31m',
  '\x1b]8;;',
  'source = "',
  'source="./a"\n',
  'backend "',
  'cloud {',
  'iac-runner ',
  'Error: ',
];

/** Texts of about this many characters, each with a name. */
export function hostileTexts(size: number): [name: string, text: string][] {
  const fill = (piece: string) => piece.repeat(Math.ceil(size / piece.length));
  const lines = (line: (index: number) => string) => {
    let text = '';
    for (let index = 0; text.length < size; index += 1) text += line(index);
    return text;
  };
  const repeated = [...CHARACTERS, ...PIECES].map((piece): [string, string] => [
    `only ${JSON.stringify(piece)}`,
    fill(piece),
  ]);
  return [
    ...repeated,
    ['many keys', lines((index) => `k${index}: 1\n`)],
    ['many keys in braces', `{${lines((index) => `k${index}: 1, `)}}`],
    ['many items', lines((index) => `- i${index}\n`)],
    ['many anchors', lines((index) => `- &a${index} x\n`)],
    ['ever deeper keys', lines((index) => `${' '.repeat(index)}a:\n`)],
    ['ever deeper lists', lines((index) => `${' '.repeat(index)}-\n`)],
    ['a long key', `${fill('a')}: 1\n`],
    ['a long number', fill('1')],
    ['a quoted text', `"${fill('\\n')}"`],
    ['a block', `a: |\n${fill(' x\n')}`],
    ['a folded block', `a: >\n${fill(' x\n\n')}`],
    ['keys that are maps', `${'{'.repeat(size / 5)}${'}: 1'.repeat(size / 5)}`],
    ['keys that are lists', `${'{['.repeat(size / 7)}${']: 1}'.repeat(size / 7)}`],
    ['keys of keys', `${'{? '.repeat(size / 4)}${'}'.repeat(size / 4)}`],
    ['a key below many', `${'? '.repeat(size / 2)}1`],
    ['brackets that close', `${'['.repeat(size / 2)}${']'.repeat(size / 2)}`],
    ['random characters', randomText(size, [...CHARACTERS, ...PIECES])],
    ['random letters and spaces', randomText(size, ['a', 'b', ' ', '\n', '.', '`'])],
  ];
}

/** The same for the same arguments. */
function randomText(size: number, pieces: readonly string[]): string {
  let state = 20_261_130;
  let text = '';
  while (text.length < size) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    text += pieces[(state >>> 8) % pieces.length];
  }
  return text;
}
