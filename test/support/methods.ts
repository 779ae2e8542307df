/** Client methods with the fields that a test does not care about filled in. */
import { emptyTable, MethodId, type FieldTable } from "../../src/wire/index.ts";
import type { MethodOf } from "./raw-client.ts";

type Declare = MethodOf<typeof MethodId.QueueDeclare>;
type DeclareExchange = MethodOf<typeof MethodId.ExchangeDeclare>;
type Consume = MethodOf<typeof MethodId.BasicConsume>;

export function declareQueue(queue: string, options: Partial<Declare> = {}): Declare {
  return {
    id: MethodId.QueueDeclare,
    queue,
    passive: false,
    durable: false,
    exclusive: false,
    autoDelete: false,
    noWait: false,
    arguments: emptyTable,
    ...options,
  };
}

export function declareExchange(
  exchange: string,
  type: string,
  options: Partial<DeclareExchange> = {},
): DeclareExchange {
  return {
    id: MethodId.ExchangeDeclare,
    exchange,
    type,
    passive: false,
    durable: false,
    autoDelete: false,
    internal: false,
    noWait: false,
    arguments: emptyTable,
    ...options,
  };
}

export function consume(queue: string, options: Partial<Consume> = {}): Consume {
  return {
    id: MethodId.BasicConsume,
    queue,
    consumerTag: "",
    noLocal: false,
    noAck: false,
    exclusive: false,
    noWait: false,
    arguments: emptyTable,
    ...options,
  };
}

export function bindQueue(
  queue: string,
  exchange: string,
  routingKey: string,
  table: FieldTable = emptyTable,
): MethodOf<typeof MethodId.QueueBind> {
  return { id: MethodId.QueueBind, queue, exchange, routingKey, noWait: false, arguments: table };
}

export function publishMethod(
  exchange: string,
  routingKey: string,
  mandatory = false,
): MethodOf<typeof MethodId.BasicPublish> {
  return { id: MethodId.BasicPublish, exchange, routingKey, mandatory, immediate: false };
}

export function ack(deliveryTag: number | bigint, multiple = false): MethodOf<typeof MethodId.BasicAck> {
  return { id: MethodId.BasicAck, deliveryTag: BigInt(deliveryTag), multiple };
}
