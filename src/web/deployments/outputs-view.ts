/** The outputs of a deployment as a table; of sensitive ones only that they are there. */

import { html } from 'hono/html';
import type { DeployOutput } from '../../runs/deployments/deployment.ts';
import { plainLine } from '../frame/ansi.ts';
import type { Html } from '../frame/layout.ts';

const MAX_OUTPUTS = 200;
const MAX_CHARACTERS = 4_000;

export function outputsView(outputs: Record<string, DeployOutput>): Html {
  const all = Object.entries(outputs);
  if (all.length === 0) return html`<p class="empty">It has no outputs.</p>`;
  const rest = all.length - MAX_OUTPUTS;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Outputs"><table class="rows outputs">
<thead><tr><th scope="col">Name</th><th scope="col">Value</th></tr></thead>
<tbody>${all.slice(0, MAX_OUTPUTS).map(
    ([name, output]) => html`<tr>
<th scope="row"><bdi>${plainLine(name)}</bdi></th>
<td>${output.sensitive ? html`<span class="quiet">(sensitive)</span>` : valueView(output.value)}</td>
</tr>`,
  )}</tbody>
</table></div>
${rest > 0 && html`<p class="quiet">and ${rest} more</p>`}`;
}

function valueView(value: unknown): Html {
  const text = typeof value === 'string' ? value : (JSON.stringify(value, null, 2) ?? '');
  const shown = text.slice(0, MAX_CHARACTERS).split('\n').map(plainLine).join('\n');
  return html`<code class="value">${shown}</code>${text.length > MAX_CHARACTERS && html` <span class="quiet">and more</span>`}`;
}
