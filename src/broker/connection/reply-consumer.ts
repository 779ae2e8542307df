import type { ReplyConsumer } from "../route-cache.ts";
import type { MessageView } from "../storage/index.ts";
import type { Channel } from "./channel.ts";
import { DeliverPrefix } from "./consumer.ts";

/** Replies that the client leaves unread: more are lost. They are promised to nobody, and must not fill the memory. */
const mostUnsentBytes = 16 << 20;

/** A channel's consumer of replies (direct reply-to), which needs no acknowledgements and has no queue. */
export class ReplyChannelConsumer implements ReplyConsumer {
  readonly tag: string;
  /** The reply-to of requests. */
  readonly name: string;
  private readonly channel: Channel;
  private readonly prefix: DeliverPrefix;
  private hasEnded = false;

  constructor(channel: Channel, tag: string) {
    this.channel = channel;
    this.tag = tag;
    this.prefix = new DeliverPrefix(channel.id, tag);
    this.name = channel.vhost.addReplyConsumer(this);
    channel.publisher.replyName = this.name;
  }

  deliverReply(message: MessageView): void {
    const { channel, prefix } = this;
    if (this.hasEnded || channel.closing || channel.output.unsentBytes > mostUnsentBytes) return;
    const tag = channel.nextDeliveryTag++;
    channel.output.deliver(channel.id, prefix.bytes, prefix.view, tag, false, message);
  }

  end(): void {
    this.hasEnded = true;
    this.channel.publisher.replyName = null;
    this.channel.vhost.removeReplyConsumer(this.name);
  }
}
