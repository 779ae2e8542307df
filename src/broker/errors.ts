import { ReplyCode } from "../wire/index.ts";

/** Closes the channel on which it happened; the connection and its other channels go on. AMQP 0-9-1 §1.2 "soft error". */
export class ChannelError extends Error {
  override readonly name = "ChannelError";
  readonly code: ReplyCode;

  constructor(code: ReplyCode, text: string) {
    super(text);
    this.code = code;
  }

  /** As the client is told it. */
  get reply(): string {
    return replyText(this.code, this.message);
  }
}

/** Closes the connection on which it happened. AMQP 0-9-1 §1.2 "hard error". */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly code: ReplyCode;

  constructor(code: ReplyCode, text: string) {
    super(text);
    this.code = code;
  }

  /** As the client is told it. */
  get reply(): string {
    return replyText(this.code, this.message);
  }
}

const codeNames: ReadonlyMap<number, string> = new Map(
  Object.entries(ReplyCode).map(([name, code]) => [
    code,
    name.replaceAll(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase(),
  ]),
);

/** The reply text as RabbitMQ writes it: `NOT_FOUND - no queue 'q' in vhost '/'`, cut to the 255 bytes it may have. */
export function replyText(code: ReplyCode, text: string): string {
  const full = text === "" ? codeNames.get(code)! : `${codeNames.get(code)} - ${text}`;
  if (Buffer.byteLength(full) <= 255) return full;
  // Cut between characters: a partial UTF-8 sequence decodes to U+FFFD at the end.
  return (
    Buffer.from(full)
      .subarray(0, 252)
      .toString("utf8")
      .replace(/\uFFFD+$/, "") + "..."
  );
}
