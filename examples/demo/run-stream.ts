/** Reads the live events of a run by its signed link, as the run's page does in a browser. */

import { z } from 'zod';
import type { Style } from './narrator.ts';

const spanSchema = z.object({ text: z.string(), classes: z.string().default('') });
const messageSchema = z.discriminatedUnion('event', [
  z.object({ event: z.literal('explained') }),
  z.object({ event: z.literal('log'), data: z.object({ step: z.string(), spans: z.array(spanSchema) }) }),
  z.object({ event: z.literal('end'), data: z.object({ state: z.string() }) }),
  // The demo does not show these.
  z.object({ event: z.enum(['run', 'step', 'notice']) }),
]);

export type RunMessage = z.infer<typeof messageSchema>;
export type Span = z.infer<typeof spanSchema>;

/** Longer than any run of the demo takes. */
const STREAM_LIMIT_MS = 60_000;
const COLOURS = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'] as const;

/** Yields every message so far and then each new one, until the run has ended. `link` is the signed address. */
export async function* streamRun(link: string): AsyncGenerator<RunMessage> {
  const address = new URL(link);
  address.pathname += '/events';
  const response = await fetch(address, { signal: AbortSignal.timeout(STREAM_LIMIT_MS) });
  if (!response.ok || !response.body) throw new Error(`The run's events answered ${response.status}.`);
  let rest = '';
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    const blocks = `${rest}${chunk}`.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const message = parseBlock(block);
      if (message) yield message;
      if (message?.event === 'end') return;
    }
  }
  throw new Error('The stream of the run broke off before its end.');
}

/** Returns null for a block without an event: a comment, or the time to wait before a new connection. */
function parseBlock(block: string): RunMessage | null {
  const event = /^event: (.*)$/m.exec(block)?.[1];
  if (event === undefined) return null;
  const data: unknown = JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? 'null');
  return messageSchema.parse({ event, data });
}

/** Converts the class names of the page to a style of the terminal. */
export function styleOf({ classes }: Span): Style {
  const names = classes.split(' ');
  const colour = /fg-(\d+)/.exec(classes)?.[1];
  return [
    ...(names.includes('bold') ? (['bold'] as const) : []),
    ...(names.includes('faint') ? (['dim'] as const) : []),
    // The eight bright ones come after the eight plain ones.
    ...(colour === undefined ? [] : [COLOURS[Number(colour) % COLOURS.length] ?? 'white']),
  ];
}
