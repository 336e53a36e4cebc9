/** The type of a bench, and the rows of its table. */

export interface Row {
  /** The measured quantity, with its unit or circumstances. */
  measured: string;
  ours: string;
  /** The name of the peer or bound that was measured in the same run. */
  bound?: string;
  /** Our value divided by the bound. */
  ratio?: string;
  aim?: string;
  /** True if the aim was reached; only with an aim. */
  met?: boolean;
}

export interface Bench {
  name: string;
  /** One paragraph for the reader of the table. It says what is compared, and how. */
  method: string;
  run(): Promise<Row[]>;
}
