/** What a broker answers to what it does not permit. */
import { onTestFinished } from "vitest";
import { MethodId, type Method } from "../../src/wire/index.ts";
import { protocolHeader, RawClient, startOk, type Received } from "./raw-client.ts";

/** Who logs in, and where to. */
export interface Account {
  user: string;
  password?: string;
  vhost?: string;
}

/** A method, or what sends more than one frame. */
export type Action = Method | ((client: RawClient, channel: number) => void);

/** Code, text and method of the refusal of a login; "open" when it is not refused, "end" when nothing is said. */
export async function loginReply(
  port: number,
  { user, password = "secret", vhost = "/" }: Account,
  options: { host?: string; capabilities?: readonly string[] } = {},
): Promise<string> {
  const client = await RawClient.open(port, options.host);
  onTestFinished(() => client.close());
  client.bytes(protocolHeader);
  await client.expect(MethodId.ConnectionStart);
  const { capabilities = ["authentication_failure_close"] } = options;
  client.method(0, startOk(user, password, capabilities));
  const tune = await client.next();
  if (tune.kind !== "method" || tune.method.id !== MethodId.ConnectionTune) return said(tune);
  const { channelMax, frameMax } = tune.method;
  client.method(0, { id: MethodId.ConnectionTuneOk, channelMax, frameMax, heartbeat: 0 });
  client.method(0, { id: MethodId.ConnectionOpen, virtualHost: vhost });
  return said(await client.next());
}

/**
 * What the broker answers to a method on a channel of its own, or to what `action` sends: code, text and method of the
 * refusal, "allowed" when there is none.
 */
export async function replyTo(client: RawClient, action: Action): Promise<string> {
  const channel = 1000;
  await client.openChannel(channel);
  if (typeof action === "function") action(client, channel);
  else client.method(channel, action);
  // Whatever was allowed has been answered before this.
  client.method(channel, { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: 0, global: false });
  for (;;) {
    const received = await client.next();
    if (received.kind !== "method") return said(received);
    const { method } = received;
    if (method.id === MethodId.BasicQosOk) client.method(channel, closeChannel);
    if (method.id === MethodId.ChannelCloseOk) return "allowed";
    if (method.id === MethodId.ChannelClose) client.method(channel, { id: MethodId.ChannelCloseOk });
    if (method.id === MethodId.ChannelClose || method.id === MethodId.ConnectionClose) return said(received);
  }
}

/** The next thing that the broker says, for people to read. */
export async function nextWord(client: RawClient): Promise<string> {
  return said(await client.next());
}

function said(received: Received): string {
  if (received.kind !== "method") return received.kind;
  const { method } = received;
  if (method.id === MethodId.ConnectionOpenOk) return "open";
  if (method.id !== MethodId.ConnectionClose && method.id !== MethodId.ChannelClose) {
    return Object.entries(MethodId).find(([, id]) => id === method.id)![0];
  }
  const { replyCode, replyText, classId, methodId } = method;
  return `${replyCode} ${replyText} (${classId}.${methodId})`;
}

const closeChannel = {
  id: MethodId.ChannelClose,
  replyCode: 200,
  replyText: "",
  classId: 0,
  methodId: 0,
} as const;
