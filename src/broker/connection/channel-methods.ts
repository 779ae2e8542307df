import { MethodId, ReplyCode, type Method } from "../../wire/index.ts";
import { ConnectionError } from "../errors.ts";
import { unimplemented, type Channel } from "./channel.ts";

/** Class channel: close and flow. Opening is the connection's business. */
export function handleChannelMethod(channel: Channel, method: Method): void {
  switch (method.id) {
    case MethodId.ChannelOpen:
      throw new ConnectionError(ReplyCode.ChannelError, "second 'channel.open' seen");
    case MethodId.ChannelClose:
      channel.release();
      channel.send({ id: MethodId.ChannelCloseOk });
      channel.connection.channelClosed(channel);
      return;
    case MethodId.ChannelFlow:
      // RabbitMQ carries out only the half of channel.flow that changes nothing; prefetch does the rest.
      if (!method.active) throw new ConnectionError(ReplyCode.NotImplemented, "active=false");
      channel.send({ id: MethodId.ChannelFlowOk, active: true });
      return;
    default:
      throw unimplemented();
  }
}
