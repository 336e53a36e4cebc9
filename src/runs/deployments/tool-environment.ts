/** Variables that a request may give to Terraform and OpenTofu: those that configure, not those that change who runs. */

import { KIBIBYTE } from '../../units.ts';

/** The system takes no longer one (MAX_ARG_STRLEN). */
const MAX_BYTES = 128 * KIBIBYTE - 1;

/** Ours, the system's, or read by every program of a kind before it does its own work. */
const REFUSED_NAMES = new Set([
  ...['PATH', 'HOME', 'TMPDIR', 'TMP', 'TEMP', 'PWD', 'OLDPWD', 'SHELL', 'USER', 'LOGNAME', 'IFS', 'CDPATH'],
  ...['ENV', 'BASH_ENV', 'SHELLOPTS', 'BASHOPTS', 'PS4', 'PROMPT_COMMAND', 'ZDOTDIR'],
  ...['EDITOR', 'VISUAL', 'PAGER', 'BROWSER', 'SSH_ASKPASS', 'SSH_AUTH_SOCK', 'SUDO_ASKPASS'],
  ...['NODE_OPTIONS', 'NODE_PATH', 'CLASSPATH', 'JAVA_TOOL_OPTIONS', '_JAVA_OPTIONS', 'JDK_JAVA_OPTIONS'],
  ...['RUBYOPT', 'RUBYLIB', 'GEM_HOME', 'GEM_PATH', 'DOTNET_STARTUP_HOOKS', 'PHPRC', 'PHP_INI_SCAN_DIR'],
  ...['HOSTALIASES', 'LOCALDOMAIN', 'RES_OPTIONS', 'GCONV_PATH', 'LOCPATH', 'NLSPATH', 'GLIBC_TUNABLES'],
  // The same as TF_CLI_CONFIG_FILE, from long ago.
  'TERRAFORM_CONFIG',
]);

const REFUSED_PREFIXES = ['LD_', 'DYLD_', 'GIT_', 'IAC_', 'PYTHON', 'PERL', 'XDG_', 'BASH_FUNC_', 'TOFU_'];

/** With these a request could read what the operator's own credentials are sent with. */
const OPERATORS = /^((HTTPS?|ALL|NO|FTP)_PROXY|SSL_CERT_(FILE|DIR))$/i;

const ALLOWED_TF = [
  /^TF_(VAR|TOKEN)_./,
  /^TF_(HTTP|CLOUD)_./,
  /^TF_(WORKSPACE|ENCRYPTION|APPEND_USER_AGENT)$/,
  /^TF_(REGISTRY|PROVIDER_DOWNLOAD)_(DISCOVERY_RETRY|CLIENT_TIMEOUT|RETRY)$/,
  /^TF_STATE_PERSIST_INTERVAL$/,
];

/** One sentence when a request may not set this variable, or not so; else null. The value is never quoted. */
export function environmentProblem(name: string, value: string): string | null {
  // Dashes: TF_VAR_ takes the names of variables, TF_TOKEN_ those of hosts.
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

/** What we set ourselves may be asked for, as long as that is the same. */
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
