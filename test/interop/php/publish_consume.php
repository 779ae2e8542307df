<?php

/**
 * Publishes persistent messages with headers to a direct exchange, consumes them until nothing has come for a while, and
 * gets one by itself.
 *
 *     publish_consume.php EXCHANGE QUEUE
 */

require __DIR__ . '/connection.php';

use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Exchange\AMQPExchangeType;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

[, $exchange, $queue] = $argv;
$connection = connect();
$channel = $connection->channel();
$channel->exchange_declare($exchange, AMQPExchangeType::DIRECT, false, true, false);
[$name, $ready, $consumers] = $channel->queue_declare($queue, false, true, false, false);
report('declared', ['queue' => $name, 'ready' => $ready, 'consumers' => $consumers]);
$channel->queue_bind($queue, $exchange, 'tasks');

for ($number = 1; $number <= 3; $number++) {
    $message = new AMQPMessage("task $number", [
        'delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT,
        'content_type' => 'text/plain',
        'priority' => 4,
        'timestamp' => 1700000000,
        'application_headers' => new AMQPTable([
            'number' => $number,
            'big' => 5000000000,
            'half' => 0.5,
            'yes' => true,
            'nothing' => null,
            'list' => [1, 'two'],
            'nested' => ['deeper' => 'still'],
        ]),
    ]);
    $channel->basic_publish($message, $exchange, 'tasks');
}

$channel->basic_qos(null, 1, null);
$tag = $channel->basic_consume($queue, '', false, false, false, false, function (AMQPMessage $message) {
    report('received', [
        'body' => $message->getBody(),
        'redelivered' => $message->isRedelivered(),
        'routing_key' => $message->getRoutingKey(),
        'headers' => $message->get('application_headers')->getNativeData(),
        'timestamp' => $message->get('timestamp'),
    ]);
    if ($message->getBody() === 'task 2' && !$message->isRedelivered()) {
        $message->nack(true);
    } else {
        $message->ack();
    }
});
try {
    while ($channel->is_consuming()) {
        $channel->wait(null, false, 0.2);
    }
} catch (AMQPTimeoutException $timeout) {
    report('idle');
}
$channel->basic_cancel($tag);

report('nothing', ['got' => $channel->basic_get($queue)]);
$channel->basic_publish(new AMQPMessage('to get'), $exchange, 'tasks');
$message = $channel->basic_get($queue);
$message->ack();
report('got', ['body' => $message->getBody(), 'left' => $message->getMessageCount()]);
$channel->close();
$connection->close();
