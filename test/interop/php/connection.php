<?php

/** What all the programs share: how they connect, and how they report, as lines of JSON. */

require_once 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Connection\AMQPStreamConnection;

// What this version of the client says about newer versions of PHP is not for us.
error_reporting(E_ALL & ~E_DEPRECATED);

function connect(): AMQPStreamConnection
{
    return new AMQPStreamConnection(
        getenv('BROKER_HOST'),
        getenv('BROKER_PORT'),
        getenv('BROKER_USERNAME'),
        getenv('BROKER_PASSWORD'),
        getenv('BROKER_VHOST')
    );
}

function report(string $event, array $fields = []): void
{
    echo json_encode(['event' => $event] + $fields), "\n";
}
