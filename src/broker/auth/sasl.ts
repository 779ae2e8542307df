import { ByteReader, ByteWriter, MalformedError, readTable } from "../../wire/index.ts";

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** What connection.start offers, best first. */
export const saslMechanisms = "PLAIN AMQPLAIN";

/**
 * Reads user and password from the first response of a SASL mechanism; undefined when the mechanism is not offered.
 * @throws MalformedError when the response is not what the mechanism says.
 */
export function readCredentials(mechanism: string, response: Uint8Array): Credentials | undefined {
  switch (mechanism) {
    case "PLAIN":
      return readPlain(response);
    case "AMQPLAIN":
      return readAmqplain(response);
    default:
      return undefined;
  }
}

/** RFC 4616: [authzid] NUL authcid NUL passwd. */
function readPlain(response: Uint8Array): Credentials {
  const parts = Buffer.from(response).toString("utf8").split("\0");
  if (parts.length !== 3)
    throw new MalformedError("a PLAIN response is not [identity] NUL user NUL password");
  return { user: parts[1], password: parts[2] };
}

/** A field table without its length, with LOGIN and PASSWORD: AMQP 0-8's own mechanism, which old clients use. */
function readAmqplain(response: Uint8Array): Credentials {
  const table = new ByteWriter(response.length + 4);
  table.long(response.length);
  table.raw(response);
  const fields = readTable(new ByteReader(table.written()));
  const login = fields.get("LOGIN");
  const password = fields.get("PASSWORD");
  if (login?.type !== "longstr" || password?.type !== "longstr") {
    throw new MalformedError("an AMQPLAIN response has no LOGIN or no PASSWORD");
  }
  return { user: text(login.value), password: text(password.value) };
}

function text(value: string | Uint8Array): string {
  return typeof value === "string" ? value : Buffer.from(value).toString("latin1");
}
