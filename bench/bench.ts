/** The type of a bench, and the rows of its table. */

export interface Row {
  /** The measured quantity, with its unit or circumstances. */
  measured: string;
  ours: string;
  /** The peer or bound measured in the same run, by name. */
  bound?: string;
  /** Ours against the bound. */
  ratio?: string;
  aim?: string;
  /** Whether the aim was reached; only with an aim. */
  met?: boolean;
}

export interface Bench {
  name: string;
  /** One paragraph for the reader of the table: what is compared with what, and how. */
  method: string;
  run(): Promise<Row[]>;
}
