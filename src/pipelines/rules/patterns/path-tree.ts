/** Stores values at folders and files, and finds those above a path in time proportional to the path's length. */

interface Node<Value> {
  value?: Value;
  readonly children: Map<string, Node<Value>>;
}

interface Found<Value> {
  value: Value;
  /** The length of the part of the path at which the value is stored. */
  length: number;
}

/** Returns the values at the path itself and at the folders above it. The shortest part comes first. */
export type PathTree<Value> = (path: string) => Found<Value>[];

/** If there are several values at one path, the first one counts. */
export function createPathTree<Value>(entries: Iterable<readonly [string, Value]>): PathTree<Value> {
  const root: Node<Value> = { children: new Map() };
  for (const [path, value] of entries) {
    let node = root;
    for (const name of path.split('/')) {
      const child = node.children.get(name) ?? { children: new Map() };
      node.children.set(name, child);
      node = child;
    }
    node.value ??= value;
  }
  return (path) => {
    const found: Found<Value>[] = [];
    let node = root;
    for (let start = 0; start <= path.length; ) {
      const slash = path.indexOf('/', start);
      const end = slash === -1 ? path.length : slash;
      const child = node.children.get(path.slice(start, end));
      if (!child) break;
      if (child.value !== undefined) found.push({ value: child.value, length: end });
      node = child;
      start = end + 1;
    }
    return found;
  };
}
