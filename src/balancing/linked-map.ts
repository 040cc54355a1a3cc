interface Node<K, V> {
  readonly key: K;
  value: V;
  before: Node<K, V> | undefined;
  after: Node<K, V> | undefined;
}

/**
 * A map with an order of its own: entries are put last, and the first can be asked for. A `Map`
 * alone has an order too, but looking for its first entry steps over all that were deleted before it.
 */
export class LinkedMap<K, V> {
  private readonly nodes = new Map<K, Node<K, V>>();
  private head: Node<K, V> | undefined;
  private tail: Node<K, V> | undefined;

  get size(): number {
    return this.nodes.size;
  }

  has(key: K): boolean {
    return this.nodes.has(key);
  }

  get(key: K): V | undefined {
    return this.nodes.get(key)?.value;
  }

  /** The key of the first entry. */
  first(): K | undefined {
    return this.head?.key;
  }

  /** Puts an entry last, wherever it was. */
  set(key: K, value: V): void {
    let node = this.nodes.get(key);
    if (node === undefined) {
      node = { key, value, before: undefined, after: undefined };
      this.nodes.set(key, node);
    } else {
      node.value = value;
      this.unlink(node);
    }
    node.before = this.tail;
    node.after = undefined;
    if (this.tail === undefined) this.head = node;
    else this.tail.after = node;
    this.tail = node;
  }

  delete(key: K): boolean {
    const node = this.nodes.get(key);
    if (node === undefined) return false;
    this.unlink(node);
    return this.nodes.delete(key);
  }

  /** In the order in which they first came. Entries may be deleted and set meanwhile. */
  keys(): MapIterator<K> {
    return this.nodes.keys();
  }

  private unlink({ before, after }: Node<K, V>): void {
    if (before === undefined) this.head = after;
    else before.after = after;
    if (after === undefined) this.tail = before;
    else after.before = before;
  }
}
