/** Checks the variables of a request for Terraform and OpenTofu: they may configure, not change which programs run. */

import { KIBIBYTE } from '../../units.ts';

/** The system accepts no longer variable (MAX_ARG_STRLEN). */
const MAX_BYTES = 128 * KIBIBYTE - 1;

/** Variables of this program, of the system, or of the start of many programs, such as all that run on Node. */
const REFUSED_NAMES = new Set([
  ...['PATH', 'HOME', 'TMPDIR', 'TMP', 'TEMP', 'PWD', 'OLDPWD', 'SHELL', 'USER', 'LOGNAME', 'IFS', 'CDPATH'],
  ...['ENV', 'BASH_ENV', 'SHELLOPTS', 'BASHOPTS', 'PS4', 'PROMPT_COMMAND', 'ZDOTDIR'],
  ...['EDITOR', 'VISUAL', 'PAGER', 'BROWSER', 'SSH_ASKPASS', 'SSH_AUTH_SOCK', 'SUDO_ASKPASS'],
  ...['NODE_OPTIONS', 'NODE_PATH', 'CLASSPATH', 'JAVA_TOOL_OPTIONS', '_JAVA_OPTIONS', 'JDK_JAVA_OPTIONS'],
  ...['RUBYOPT', 'RUBYLIB', 'GEM_HOME', 'GEM_PATH', 'DOTNET_STARTUP_HOOKS', 'PHPRC', 'PHP_INI_SCAN_DIR'],
  ...['HOSTALIASES', 'LOCALDOMAIN', 'RES_OPTIONS', 'GCONV_PATH', 'LOCPATH', 'NLSPATH', 'GLIBC_TUNABLES'],
  // This is an old name of TF_CLI_CONFIG_FILE.
  'TERRAFORM_CONFIG',
]);

const REFUSED_PREFIXES = ['LD_', 'DYLD_', 'GIT_', 'IAC_', 'PYTHON', 'PERL', 'XDG_', 'BASH_FUNC_', 'TOFU_'];

/** With these a request could read the traffic that contains the operator's own credentials. */
const OPERATORS = /^((HTTPS?|ALL|NO|FTP)_PROXY|SSL_CERT_(FILE|DIR))$/i;

const ALLOWED_TF = [
  /^TF_(VAR|TOKEN)_./,
  /^TF_(HTTP|CLOUD)_./,
  /^TF_(WORKSPACE|ENCRYPTION|APPEND_USER_AGENT)$/,
  /^TF_(REGISTRY|PROVIDER_DOWNLOAD)_(DISCOVERY_RETRY|CLIENT_TIMEOUT|RETRY)$/,
  /^TF_STATE_PERSIST_INTERVAL$/,
];

/** Returns one sentence if a request may not set the variable to this value; else null. It never quotes the value. */
export function environmentProblem(name: string, value: string): string | null {
  // Dashes are allowed, because TF_VAR_ takes names of variables, and TF_TOKEN_ names of hosts.
  if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(name))
    return `${JSON.stringify(name.slice(0, 80))} is no name of a variable`;
  if (value.includes('\0')) return `${name} holds a NUL character`;
  if (Buffer.byteLength(`${name}=${value}`) > MAX_BYTES) return `${name} is longer than 128 KiB`;
  if (OPERATORS.test(name)) return `${name} is not allowed: proxies and certificates are the operator's`;
  if (/^(TF|CHECKPOINT)_/.test(name)) return toolProblem(name, value);
  if (REFUSED_NAMES.has(name) || REFUSED_PREFIXES.some((prefix) => name.startsWith(prefix))) {
    return `${name} is not allowed: it changes which programs run, or how`;
  }
  return null;
}

/** A request may set a variable that this program sets, too, to the same value. */
function toolProblem(name: string, value: string): string | null {
  if (ALLOWED_TF.some((pattern) => pattern.test(name))) return null;
  if (name === 'TF_IN_AUTOMATION' || name === 'CHECKPOINT_DISABLE') return null;
  if (name === 'TF_INPUT') {
    return /^(0|f|false)$/i.test(value) ? null : 'TF_INPUT is not allowed: nobody is there to answer';
  }
  if (/^TF_LOG(_CORE|_PROVIDER)?$/.test(name)) {
    // Providers print whole requests below INFO, with credentials that no mask knows.
    return /^(OFF|ERROR|WARN|INFO)?$/i.test(value)
      ? null
      : `${name} must be INFO, WARN, ERROR or OFF: more shows secrets`;
  }
  return `${name} is not allowed: the tool's own settings are made here, but for TF_VAR_…, TF_TOKEN_…, TF_HTTP_…, TF_CLOUD_…, TF_WORKSPACE and TF_ENCRYPTION`;
}
