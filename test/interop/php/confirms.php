<?php

/**
 * Publishes with handlers for what is confirmed, refused and returned: to a queue with room for two messages that refuses
 * more, and to nobody.
 *
 *     confirms.php QUEUE
 */

require __DIR__ . '/connection.php';

use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

[, $queue] = $argv;
$connection = connect();
$channel = $connection->channel();
$channel->queue_declare($queue, false, true, false, false, false, new AMQPTable([
    'x-max-length' => 2,
    'x-overflow' => 'reject-publish',
]));

$channel->set_ack_handler(function (AMQPMessage $message) {
    report('confirmed', ['body' => $message->getBody()]);
});
$channel->set_nack_handler(function (AMQPMessage $message) {
    report('refused', ['body' => $message->getBody()]);
});
$channel->set_return_listener(function ($code, $text, $exchange, $key, AMQPMessage $message) {
    report('returned', ['code' => $code, 'text' => $text, 'key' => $key, 'body' => $message->getBody()]);
});
$channel->confirm_select();
foreach (['one', 'two', 'three'] as $body) {
    $channel->basic_publish(new AMQPMessage($body), '', $queue);
}
$channel->wait_for_pending_acks_returns(10);
$channel->basic_publish(new AMQPMessage('to nobody'), '', "$queue missing", true);
$channel->wait_for_pending_acks_returns(10);
$connection->close();
