<?php

/**
 * Publishes to a queue that keeps messages for a while, then passes them on to another, and waits for one there.
 *
 *     delays.php DELAY_QUEUE QUEUE
 */

require __DIR__ . '/connection.php';

use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

[, $delayQueue, $queue] = $argv;
$connection = connect();
$channel = $connection->channel();
$channel->queue_declare($queue, false, true, false, false, false, new AMQPTable(['x-max-priority' => 5]));
$channel->queue_declare($delayQueue, false, true, false, false, false, new AMQPTable([
    'x-message-ttl' => 100,
    'x-expires' => 60000,
    'x-dead-letter-exchange' => '',
    'x-dead-letter-routing-key' => $queue,
]));
$channel->basic_publish(new AMQPMessage('later'), '', $delayQueue);
$channel->basic_consume($queue, '', false, true, false, false, function (AMQPMessage $message) {
    $death = $message->get('application_headers')->getNativeData()['x-death'][0];
    report('received', ['body' => $message->getBody(), 'reason' => $death['reason'], 'queue' => $death['queue']]);
});
$channel->wait(null, false, 10);

try {
    $channel->queue_declare($queue, false, true, false, false);
} catch (AMQPProtocolChannelException $error) {
    report('refused', ['code' => $error->amqp_reply_code, 'text' => $error->amqp_reply_text]);
}
$connection->close();
