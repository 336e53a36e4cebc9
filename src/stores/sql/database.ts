/** The port that the statements of the store are written against. Each driver implements it for its connections. */

export type Value = string | number | null | Uint8Array;
export type Row = Record<string, unknown>;

/** A connection. Placeholders are written as `?`. */
export interface Database {
  get(sql: string, ...values: Value[]): Promise<Row | undefined>;
  all(sql: string, ...values: Value[]): Promise<Row[]>;
  /** Resolves to the number of rows that changed. */
  run(sql: string, ...values: Value[]): Promise<number>;
  /** Returns the milliseconds since the epoch, by the one clock that all machines of this store use. */
  now(): Promise<number>;
}

/** A connection on which a transaction has started. */
export interface Transaction extends Database {
  /**
   * Inserts rows in their order. All of them have the columns of the first. `rest` is the end of the statement: ON
   * CONFLICT, RETURNING. Resolves to the rows of RETURNING.
   */
  insert(table: string, rows: readonly Record<string, Value>[], rest?: string): Promise<Row[]>;
  /** Set by a write after which a run can be claimed that could not be claimed before. */
  mayClaim: boolean;
}

/** The result of a write, and the runs that it changed: the driver notifies their watchers after the commit. */
export interface Written<T> {
  result: T;
  changed: string[];
}

/** A list as the value of the placeholder in `SELECT key FROM json_each(?)`, which both databases understand. */
export function asKeys(values: Iterable<string>): string {
  return JSON.stringify(Object.fromEntries([...values].map((value) => [storable(value), 0])));
}

/** Returns a placeholder for each value, as the list of an `IN`. No value is in an empty list. */
export function placeholders(values: readonly unknown[]): string {
  return values.length === 0 ? '(NULL)' : `(${values.map(() => '?').join(', ')})`;
}

/** Returns the condition that the columns have these values, with an `AND` behind each. A value may be left out. */
export function equalTo(columns: Readonly<Record<string, Value | undefined>>): {
  text: string;
  values: Value[];
} {
  const given = Object.entries(columns).flatMap(([column, value]) =>
    value === undefined ? [] : [{ text: `${column} = ? AND `, value }],
  );
  return { text: given.map(({ text }) => text).join(''), values: given.map(({ value }) => value) };
}

/**
 * Returns the text in the form in which both databases store it and find it again. PostgreSQL takes no character 0, and
 * neither database takes half of a surrogate pair.
 */
export function storable(text: string): string {
  return text.replaceAll('\0', '\uFFFD').toWellFormed();
}

/**
 * Returns the form of a value in which it is bound. Numbers are rounded: every stored number is a time in milliseconds or
 * a count, and the tables refuse a fraction, such as a time of performance.now().
 */
export function bindable(value: Value): Value {
  if (typeof value === 'string') return storable(value);
  if (typeof value !== 'number' || Number.isInteger(value)) return value;
  if (!Number.isFinite(value)) throw new TypeError(`The store was given ${value} for a number.`);
  return Math.round(value);
}
