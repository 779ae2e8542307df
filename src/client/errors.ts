import { ReplyCode } from "../wire/index.ts";

/** The broker has refused what was asked of it. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  /** As RabbitMQ spells reply codes: `NOT_FOUND`, `ACCESS_REFUSED`, `PRECONDITION_FAILED`, … */
  readonly code: string;

  constructor(replyCode: number, replyText: string) {
    super(replyText);
    this.code = nameOf(replyCode);
  }
}

/**
 * What was asked for was cut short by something else, and may be asked again: the connection is lost, or the channel was
 * closed for what somebody else has asked on it. Whether the broker has done it is not known.
 */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";
}

const names = new Map<number, string>(
  Object.entries(ReplyCode).map(([name, code]) => [
    code,
    name.replaceAll(/(?<!^)(?=[A-Z])/g, "_").toUpperCase(),
  ]),
);

function nameOf(replyCode: number): string {
  return names.get(replyCode) ?? String(replyCode);
}
