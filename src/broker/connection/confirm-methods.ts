import { MethodId, type Method } from "../../wire/index.ts";
import { unimplemented, type Channel } from "./channel.ts";

/** Class confirm: publisher confirms. https://www.rabbitmq.com/docs/confirms#publisher-confirms */
export function handleConfirmMethod(channel: Channel, method: Method): void {
  if (method.id !== MethodId.ConfirmSelect) throw unimplemented();
  channel.publisher.startConfirming();
  if (!method.noWait) channel.send({ id: MethodId.ConfirmSelectOk });
}
