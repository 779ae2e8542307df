import { MethodId, type Method } from "../../wire/index.ts";
import { refuseDefaultExchange } from "../virtual-host.ts";
import { unimplemented, type Channel } from "./channel.ts";
import { assertMayBind } from "./may-bind.ts";
import { cleanName } from "./names.ts";

/** Class exchange: declare, delete, and bindings between exchanges (https://www.rabbitmq.com/docs/e2e). */
export function handleExchangeMethod(channel: Channel, method: Method): void {
  const { vhost, connection } = channel;
  const { permissions } = connection;
  switch (method.id) {
    case MethodId.ExchangeDeclare: {
      const name = cleanName(method.exchange);
      if (method.passive) {
        refuseDefaultExchange(name);
        vhost.exchange(name);
      } else {
        vhost.declareExchange(name, method.type, method, permissions);
      }
      if (!method.noWait) channel.send({ id: MethodId.ExchangeDeclareOk });
      return;
    }
    case MethodId.ExchangeDelete:
      vhost.deleteExchange(cleanName(method.exchange), method.ifUnused, permissions);
      if (!method.noWait) channel.send({ id: MethodId.ExchangeDeleteOk });
      return;
    case MethodId.ExchangeBind: {
      const [destination, source] = [cleanName(method.destination), cleanName(method.source)];
      assertMayBind(connection, "exchange", destination, source, method.routingKey);
      vhost.bindExchange(destination, source, method.routingKey, method.arguments);
      if (!method.noWait) channel.send({ id: MethodId.ExchangeBindOk });
      return;
    }
    case MethodId.ExchangeUnbind: {
      const [destination, source] = [cleanName(method.destination), cleanName(method.source)];
      assertMayBind(connection, "exchange", destination, source, method.routingKey);
      vhost.unbindExchange(destination, source, method.routingKey, method.arguments);
      if (!method.noWait) channel.send({ id: MethodId.ExchangeUnbindOk });
      return;
    }
    default:
      throw unimplemented();
  }
}
