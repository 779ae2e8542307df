/** Where the durable exchanges, queues and bindings of a broker are written down, as named values. */
export interface Definitions {
  /** Something was put or deleted that is not durable yet. */
  readonly isDirty: boolean;
  /** A number that no queue had before, not even one of an earlier life of the broker. */
  nextQueueId(): number;
  put(key: string, value: string): void;
  delete(key: string): void;
}

/** For a broker that keeps nothing. */
export class NoDefinitions implements Definitions {
  readonly isDirty = false;
  private lastQueueId = 0;

  nextQueueId(): number {
    return ++this.lastQueueId;
  }

  put(): void {}

  delete(): void {}
}
