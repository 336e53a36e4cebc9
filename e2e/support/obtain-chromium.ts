/** Finds a Chromium that really starts. It installs nothing, because `.ci/run` does that. */

import { runBounded } from './bounded-command.ts';

/** The program, or one line that says which command to run. */
export type Chromium = { executable: string } | { missing: string };

const CANDIDATES = [
  'chromium',
  'chromium-browser',
  'google-chrome',
  'google-chrome-stable',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/** Asks each candidate for its version, for at most 20 s each. */
export async function obtainChromium(candidates: readonly string[] = CANDIDATES): Promise<Chromium> {
  for (const candidate of candidates) {
    const version = await runBounded([candidate, '--version'], 20_000);
    if (!version.ok || !/Chrom/.test(version.output)) continue;
    const located = await runBounded(['which', candidate], 5_000);
    return { executable: located.ok ? located.output.trim() : candidate };
  }
  return { missing: 'Chromium is missing. Type: apt-get install --no-install-recommends chromium' };
}
