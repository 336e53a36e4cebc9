/** How an address of the server is described. */

import type { z } from 'zod';
import type { Role } from '../../config.ts';

export interface DescribedRoute {
  method: 'get' | 'post' | 'delete';
  /** As OpenAPI writes it. */
  path: string;
  summary: string;
  /** `signed`: a signature over the body. `link`: a viewer, or the signed link of the run. `none`: everybody. */
  needs: Role | 'signed' | 'link' | 'none';
  query?: readonly string[];
  /** The members of the JSON body. */
  body?: readonly string[];
  /** Answers besides those of every route: JSON by a schema, another type of content, or no body at all. */
  answers: Readonly<Record<number, z.ZodType | `${string}/${string}` | null>>;
}

/** The first word is the method, and the second one the address. */
export type Row = [
  operation: `${DescribedRoute['method']} /${string}`,
  needs: DescribedRoute['needs'],
  summary: string,
  answers: DescribedRoute['answers'],
  more?: Pick<DescribedRoute, 'query' | 'body'>,
];
