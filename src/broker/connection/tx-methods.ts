import { MethodId, ReplyCode, type Method } from "../../wire/index.ts";
import { ChannelError } from "../errors.ts";
import { settleKept } from "./basic-methods.ts";
import { unimplemented, type Channel } from "./channel.ts";
import { Transaction } from "./transaction.ts";

/**
 * Class tx: what a channel publishes and settles takes effect together, at tx.commit.
 * https://www.rabbitmq.com/docs/semantics#tx
 */
export function handleTxMethod(channel: Channel, method: Method): void {
  switch (method.id) {
    case MethodId.TxSelect:
      return select(channel);
    case MethodId.TxCommit:
      return commit(channel);
    case MethodId.TxRollback:
      return rollback(channel);
    default:
      throw unimplemented();
  }
}

/** Selecting again changes nothing: the transaction goes on. */
function select(channel: Channel): void {
  if (channel.transaction === null) {
    const transaction = new Transaction(channel.unacked);
    channel.publisher.startKeeping(transaction);
    channel.transaction = transaction;
  }
  channel.send({ id: MethodId.TxSelectOk });
}

/** Messages first, then settlements, as in RabbitMQ. All in one turn, so that all of it is in one commit of the store's. */
function commit(channel: Channel): void {
  const transaction = transactionOf(channel);
  if (!transaction.isEmpty) {
    const { publishes, settlements } = transaction;
    transaction.clear();
    channel.publisher.publishKept(publishes);
    settleKept(channel, settlements);
    channel.connection.holdUntilCommitted();
  }
  channel.send({ id: MethodId.TxCommitOk });
}

/** The deliveries wait for an acknowledgement again. They are not made again (basic.recover does that). */
function rollback(channel: Channel): void {
  transactionOf(channel).clear();
  channel.send({ id: MethodId.TxRollbackOk });
}

/** @throws ChannelError 406 */
function transactionOf(channel: Channel): Transaction {
  if (channel.transaction !== null) return channel.transaction;
  throw new ChannelError(ReplyCode.PreconditionFailed, "channel is not transactional");
}
