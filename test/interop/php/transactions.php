<?php

/**
 * Publishes in transactions, of which it rolls one back, and says what is in the queue after each.
 *
 *     transactions.php QUEUE
 */

require __DIR__ . '/connection.php';

use PhpAmqpLib\Message\AMQPMessage;

[, $queue] = $argv;
$connection = connect();
$channel = $connection->channel();
$channel->queue_declare($queue, false, false, false, false);
$channel->tx_select();

function ready($channel, $queue): int
{
    return $channel->queue_declare($queue, true)[1];
}

$channel->basic_publish(new AMQPMessage('undone'), '', $queue);
$channel->tx_rollback();
report('rolled back', ['ready' => ready($channel, $queue)]);
$channel->basic_publish(new AMQPMessage('done'), '', $queue);
report('open', ['ready' => ready($channel, $queue)]);
$channel->tx_commit();
report('committed', ['ready' => ready($channel, $queue)]);
$connection->close();
