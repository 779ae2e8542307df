import type { Binding, ExchangeType, RoutedMessage, RoutingTarget } from "./exchange-type.ts";

/**
 * Routes by patterns: words separated by dots, `*` stands for one word, `#` for none or more (AMQP 0-9-1 §3.1.3.3).
 * Patterns are kept in a trie of words. An empty key has no words, as in RabbitMQ: `#` matches it, `*` does not.
 *
 * Answers are cached by key above this class, so that the trie is walked once per key, not once per message.
 */
export class TopicExchange implements ExchangeType {
  readonly needsHeaders = false;
  private readonly root = new TrieNode();

  add(binding: Binding): void {
    let node = this.root;
    for (const word of words(binding.routingKey)) node = node.childFor(word);
    node.bindings.push(binding);
  }

  remove(binding: Binding): void {
    const key = words(binding.routingKey);
    const path = [this.root];
    for (const word of key) path.push(path.at(-1)!.children.get(word)!);
    const { bindings } = path.at(-1)!;
    bindings.splice(bindings.indexOf(binding), 1);
    for (let depth = key.length; depth > 0 && path[depth].isEmpty(); depth--) {
      path[depth - 1].children.delete(key[depth - 1]);
    }
  }

  route(message: RoutedMessage, collect: (target: RoutingTarget) => void): void {
    const key = words(message.routingKey);
    // All nodes that the words read so far lead to. A set, so that a hostile pattern (#.a.#.a.#…), which reaches the
    // same node along many paths, costs its length times the key's and not an exponential.
    let reached = new Set<TrieNode>();
    enter(this.root, reached);
    for (const word of key) {
      const next = new Set<TrieNode>();
      for (const node of reached) {
        if (node.isHash) next.add(node);
        enter(node.children.get(word), next);
        enter(node.children.get("*"), next);
      }
      reached = next;
      if (reached.size === 0) return;
    }
    for (const node of reached) {
      for (const binding of node.bindings) collect(binding.destination);
    }
  }
}

/** A node reached is also its `#` children reached, which may stand for no word at all. */
function enter(node: TrieNode | undefined, reached: Set<TrieNode>): void {
  for (let at = node; at !== undefined; at = at.children.get("#")) reached.add(at);
}

function words(key: string): string[] {
  return key === "" ? [] : key.split(".");
}

class TrieNode {
  readonly children = new Map<string, TrieNode>();
  readonly bindings: Binding[] = [];
  readonly isHash: boolean;

  constructor(isHash = false) {
    this.isHash = isHash;
  }

  childFor(word: string): TrieNode {
    let child = this.children.get(word);
    if (!child) {
      child = new TrieNode(word === "#");
      this.children.set(word, child);
    }
    return child;
  }

  isEmpty(): boolean {
    return this.children.size === 0 && this.bindings.length === 0;
  }
}
