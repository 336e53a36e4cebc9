/** Finds the problem and the next action in the last lines of a log, for people who do not see the whole log. */

import { stripVTControlCharacters } from 'node:util';
import { RUN_REASONS } from '../../runs/run-reasons.ts';
import type { Ended } from '../pipeline.ts';
import type { StepContext } from '../step.ts';

export interface Diagnosis {
  problem: string;
  nextAction: string;
}

const TAIL_LINES = 40;
const TAIL_CHARACTERS = 8_000;

/** The words by which the tools report a cause. The more certain causes come first. */
const CAUSES: readonly { said: RegExp; problem: string; nextAction: string }[] = [
  {
    said: /Error acquiring the state lock|state (blob|data)? ?is already locked/i,
    problem: 'The state is locked by another run',
    nextAction:
      'Wait until that run has ended and push again. If it was killed, use force-unlock with the lock id below.',
  },
  {
    said: /Unsupported (Terraform|OpenTofu) Core version|required_version/i,
    problem: 'The configuration wants another version of the tool',
    nextAction: 'Ask for a version that is installed, or relax required_version.',
  },
  {
    said: /inconsistent dependency lock file|does not match any of the checksums|checksums? .{0,40}lock file/i,
    problem: 'The dependency lock file does not fit the configuration',
    nextAction: 'Run init and providers lock on your machine, then commit .terraform.lock.hcl.',
  },
  {
    said: /Failed to (query available provider packages|install provider|resolve provider packages)|Could not (retrieve|load) .{0,60}provider|registry .{0,80}does not have a provider|Required plugins are not installed/i,
    problem: 'A provider could not be installed',
    nextAction:
      'Check its source and version, and that the runner may reach the registry or has it in its mirror.',
  },
  {
    said: /Failed to download module|Module not (installed|found)|Unreadable module directory|Could not download module/i,
    problem: 'A module could not be downloaded',
    nextAction: 'Check its source and version, and that it can be read without credentials of the runner.',
  },
  {
    said: /No value for required variable/i,
    problem: 'A variable has no value',
    nextAction: 'Give it a default or a value in a committed terraform.tfvars.',
  },
  {
    said: /no valid credential|Unauthorized|Access ?Denied|AuthFailure|Forbidden|InvalidClientTokenId|ExpiredToken|could not find default credentials|Authentication failed|could not read (Username|Password)|HTTP (Basic: )?Access denied|status code:? 40[13]|terminal prompts disabled/i,
    problem: 'Access was denied',
    nextAction:
      'Check the credentials and what they may do. Plans of pull requests get no credentials of the runner.',
  },
  {
    said: /Backend initialization required|Backend configuration changed|Error configuring the backend|Failed to get existing workspaces/i,
    problem: 'The backend could not be used',
    nextAction: 'Check the backend block and whether the runner may reach it.',
  },
  {
    said: /no such host|connection refused|i\/o timeout|network is unreachable|TLS handshake timeout|context deadline exceeded|Could not resolve host/i,
    problem: 'Something could not be reached over the network',
    nextAction: 'Check the address below and the network of the runner, then push again.',
  },
  {
    said: /Error: (Unsupported|Invalid|Missing|Reference to undeclared|Duplicate|Argument|Unclosed|Incorrect|Extraneous)|Terraform encountered problems during initialisation|configuration (is|was) invalid/i,
    problem: 'The configuration is not valid',
    nextAction: 'Correct what the lines below name, then push again.',
  },
];

export function diagnose(lines: readonly string[], outcome: Ended): Diagnosis {
  // The tools break long lines and draw a frame around them.
  const said = [...lines, outcome.message].join(' ').replace(/[│╷╵\s]+/g, ' ');
  const isOfTool = outcome.reason === 'step_failed' || outcome.reason === 'git_unavailable';
  const cause = isOfTool ? CAUSES.find((one) => one.said.test(said)) : undefined;
  if (cause) return { problem: `${cause.problem} (${outcome.message})`, nextAction: cause.nextAction };
  const nextAction = outcome.reason === null ? 'Read the full log.' : RUN_REASONS[outcome.reason];
  return { problem: outcome.message, nextAction };
}

/** A context that remembers the last lines that are logged through it. */
export function watchLog(context: StepContext): { watching: StepContext; tail(): string[] } {
  let lines: string[] = [];
  return {
    watching: {
      signal: context.signal,
      draining: context.draining,
      emit(...events) {
        for (const event of events) {
          if (event.type === 'step.log') lines = [...lines, ...event.lines].slice(-TAIL_LINES);
        }
        return context.emit(...events);
      },
    },
    tail() {
      const kept = lines
        .map((line) => stripVTControlCharacters(line).slice(0, TAIL_CHARACTERS / 4))
        .filter(Boolean);
      let characters = 0;
      const from = kept.findLastIndex((line) => {
        characters += line.length + 1;
        return characters > TAIL_CHARACTERS;
      });
      return kept.slice(from + 1);
    },
  };
}
