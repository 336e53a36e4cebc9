/** Sets the stage of the demo, plays the story on it, and removes everything again, even after an error. */

import { equal } from 'node:assert/strict';
import { expectNoViolations } from '../../e2e/support/local-github.ts';
import { obtainInvoke } from '../../e2e/support/obtain-invoke.ts';
import { type Runner, runProgram } from '../../e2e/support/runner.ts';
import { type Stage, setStage } from '../../e2e/support/stage.ts';
import { createNarrator, type Narrator } from './narrator.ts';
import { PEOPLE, runnerSettings, type Settings } from './settings.ts';

export interface Scene {
  narrator: Narrator;
  stage: Stage;
  runner: Runner;
  /** Where invoke came from. */
  invokeFrom: string;
  /** Runs `iac-runner <args>` against the runner, with the token of Ada, and returns its output. Throws if it fails. */
  command(...args: string[]): Promise<string>;
}

export type Story = (scene: Scene) => Promise<void>;

/** The shell's exit code for a program ended by Ctrl-C. */
const INTERRUPTED = 130;

/**
 * Plays the story and returns the exit code: 0, 1 after any surprise, or 130 if it was interrupted. In a terminal the
 * runner stays up after the story until Ctrl-C.
 */
export async function rehearse(story: Story): Promise<number> {
  const narrator = createNarrator();
  const interruption = listenForInterruption();
  const log = (line: string): void => narrator.say(narrator.paint('dim', line));
  const invoke = await Promise.race([obtainInvoke({ log }), interruption.happened]);
  if (!invoke) return INTERRUPTED;
  if ('missing' in invoke) {
    console.error(invoke.missing);
    return 1;
  }
  const stage = await setStage({ name: 'demo', invoke: invoke.argv });
  try {
    const playOn: PlayOn = (runner, command) =>
      story({ narrator, stage, runner, invokeFrom: invoke.how, command });
    return await play(stage, playOn, interruption);
  } finally {
    await stage.close();
    if (process.stdout.isTTY) console.log('\nThe demo has ended, and its files are removed.');
  }
}

type PlayOn = (runner: Runner, command: Scene['command']) => Promise<void>;

async function play(stage: Stage, playOn: PlayOn, interruption: Interruption): Promise<number> {
  const environment = await runnerSettings(stage);
  let runner: Runner | undefined;
  async function playStory(): Promise<Runner> {
    runner = await stage.start({ environment });
    const command: Scene['command'] = (...args) => runCommand(stage, environment, args);
    await Promise.race([playOn(runner, command), unexpectedEnd(runner, interruption)]);
    return runner;
  }
  try {
    const played = await Promise.race([playStory(), interruption.happened]);
    if (!played) return INTERRUPTED;
    expectNoViolations(stage.github);
    if (process.stdout.isTTY) {
      console.log('\nThe runner stays up for a look around. Ctrl-C ends it and removes everything.');
      await Promise.race([interruption.happened, unexpectedEnd(played, interruption)]);
    } else {
      equal(await played.stop(), 0, 'The runner did not stop cleanly.');
    }
    return 0;
  } catch (error) {
    console.error(`\nThe demo met a surprise. ${error instanceof Error ? error.message : String(error)}`);
    if (runner) console.error(`\nThe runner's log:\n${runner.output()}`);
    return 1;
  }
}

interface Interruption {
  /** Ctrl-C, another signal, a closed terminal or pipe. */
  happened: Promise<void>;
  came(): boolean;
}

/** From here on a signal does not end this program at once. It ends when everything is removed. */
function listenForInterruption(): Interruption {
  const { promise, resolve } = Promise.withResolvers<void>();
  let came = false;
  function interrupt(): void {
    came = true;
    resolve();
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  // The reader of the output has ended, as after `| head`.
  process.stdout.on('error', interrupt);
  return { happened: promise, came: () => came };
}

/** Never resolves. Rejects if the runner ends by itself. Ctrl-C reaches the runner too, and is no surprise. */
function unexpectedEnd(runner: Runner, interruption: Interruption): Promise<never> {
  return new Promise((_, reject) => {
    void runner.exited.then(({ exitCode, signal }) => {
      const how = signal ?? `exit code ${exitCode}`;
      if (!interruption.came()) reject(new Error(`The runner ended by itself, with ${how}.`));
    });
  });
}

async function runCommand({ runnerOptions }: Stage, settings: Settings, args: string[]): Promise<string> {
  const environment = { ...settings, IAC_RUNNER_TOKEN: PEOPLE.ada };
  const { exitCode, stdout, stderr } = await runProgram(args, { ...runnerOptions, environment });
  equal(exitCode, 0, `iac-runner ${args.join(' ')} ended with ${exitCode}.\n${stdout}\n${stderr}`);
  return stdout;
}
