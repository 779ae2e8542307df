/** qlobber ships no types; this much of it is the oracle of the topic exchange. */
declare module "qlobber" {
  export class Qlobber<T> {
    constructor(options: { separator: string; wildcard_one: string; wildcard_some: string });
    add(topic: string, value: T): this;
    remove(topic: string, value: T): this;
    match(topic: string): T[];
  }
}
