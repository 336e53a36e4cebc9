/** Runs at the end of `npm ci`, also under an old Node: says which Node the scripts of npm will use, when that is not obvious. */

const NEEDED = 24;

/** npm puts node_modules/.bin first on the PATH, so this is the Node of the optional package where there is one. */
const ofScripts = process.versions.node;
const [, ofNpm = ofScripts] = / node\/v(\S+)/.exec(process.env.npm_config_user_agent ?? '') ?? [];

if (Number.parseInt(ofScripts, 10) < NEEDED) {
  process.stderr.write(
    `iac-runner needs Node ${NEEDED} or later, but this is Node ${ofScripts}: install Node ${NEEDED}, then repeat npm ci.\n`,
  );
} else if (Number.parseInt(ofNpm, 10) < NEEDED) {
  process.stderr.write(
    `Node ${ofNpm} is too old for iac-runner, so the scripts of npm use Node ${ofScripts} from node_modules.\n`,
  );
}
