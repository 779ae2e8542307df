import type { Permissions } from "../auth/index.ts";
import { refuseDefaultExchange, type VirtualHost } from "../virtual-host.ts";

/**
 * Binding and unbinding write to the destination and read from the source, with this key if that is a topic exchange.
 * @throws ChannelError 403
 */
export function assertMayBind(
  { permissions, vhost }: { readonly permissions: Permissions; readonly vhost: VirtualHost },
  kind: "queue" | "exchange",
  destination: string,
  source: string,
  routingKey: string,
): void {
  permissions.assertWrite(kind, destination);
  if (kind === "exchange") refuseDefaultExchange(destination);
  refuseDefaultExchange(source);
  permissions.assertRead("exchange", source);
  if (vhost.isTopicExchange(source)) permissions.assertReadTopic(source, routingKey);
}
