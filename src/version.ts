/** The version of this program, from the package it was installed as. */

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { INSTALLED_IN } from './program-files.ts';

const file = path.join(INSTALLED_IN, 'package.json');

export const VERSION = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(file, 'utf8'))).version;
