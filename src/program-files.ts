/**
 * Knows the paths of the program's own files, both in src and in dist. The build moves the code of most modules to a few
 * files at the top of dist, so a module cannot find other files from its own path.
 */

import path from 'node:path';
import { pathToFileURL } from 'node:url';

const TOP = import.meta.dirname;
const EXTENSION = path.extname(import.meta.filename);

/** Returns the path of a file that is no code, such as `web/assets/page.css`. */
export function assetFile(name: string): string {
  return path.join(TOP, name);
}

/** Returns the path of a module that is started or imported by its path, such as `process/thread-entry`. */
export function moduleFile(name: ModuleName): string {
  return path.join(TOP, name + EXTENSION);
}

/** Returns the address of such a module. */
export function moduleUrl(name: ModuleName): URL {
  return pathToFileURL(moduleFile(name));
}

/** The folder in which the program is installed. */
export const INSTALLED_IN = path.dirname(TOP);

/** The modules that the build keeps as files of their own. */
export const MODULES = [
  'cli',
  'pipelines/rules/rules-file',
  'process/thread-entry',
  'process/watchdog/watchdog-program',
  'stores/sqlite/writer-thread',
] as const;

type ModuleName = (typeof MODULES)[number];
