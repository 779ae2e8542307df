import { ByteReader, MalformedError, readProperties, type BasicProperties } from "../wire/index.ts";

/** What follows a `basic.deliver`, `basic.return` or `basic.get-ok`: a header and the body in frames (AMQP 0-9-1 §4.2.6). */
export class Content {
  properties: BasicProperties = {};
  body: Buffer = Buffer.alloc(0);
  private missing = -1;
  private readonly parts: Buffer[] = [];

  /** True when the content is complete. */
  header(bytes: Buffer, start: number, end: number): boolean {
    if (this.missing >= 0) throw new MalformedError("a content has two headers");
    const reader = new ByteReader(bytes, start, end);
    reader.isLenient = true;
    reader.long();
    this.missing = Number(reader.longlong());
    this.properties = readProperties(reader);
    return this.missing === 0;
  }

  /** True when the content is complete. */
  part(bytes: Buffer, start: number, end: number): boolean {
    if (end - start > this.missing) throw new MalformedError("a content is longer than its header says");
    this.missing -= end - start;
    this.parts.push(bytes.subarray(start, end));
    if (this.missing > 0) return false;
    this.body = this.parts.length === 1 ? this.parts[0] : Buffer.concat(this.parts);
    return true;
  }
}
