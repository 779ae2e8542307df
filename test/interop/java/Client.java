import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AlreadyClosedException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.ConsumerShutdownSignalCallback;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoverableConnection;
import com.rabbitmq.client.RecoveryListener;
import com.rabbitmq.client.RpcClient;
import com.rabbitmq.client.RpcServer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * What users of RabbitMQ's Java client do. Each line of standard input names a scenario and its arguments, and is
 * answered by events: those of the scenario, then "done". One process for all, since the machine takes long to start.
 */
public final class Client {
    private static final int TIMEOUT_SECONDS = 15;

    public static void main(String[] arguments) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Report.event("ready");
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split(" ");
            try {
                run(words[0], Arrays.copyOfRange(words, 1, words.length), input);
                Report.event("done");
            } catch (Exception error) {
                error.printStackTrace();
                Report.event("done", "error", error.toString());
            }
        }
    }

    private static void run(String scenario, String[] names, BufferedReader input) throws Exception {
        switch (scenario) {
            case "recovery":
                recovery(Integer.parseInt(names[0]), names[1], input);
                return;
            case "refusals":
                refusals(names[0]);
                return;
            default:
        }
        Connection connection = factory().newConnection();
        try {
            Channel channel = connection.createChannel();
            switch (scenario) {
                case "confirms": confirms(channel, names[0]); break;
                case "prefetch": prefetch(channel, names[0]); break;
                case "transactions": transactions(channel, names[0]); break;
                case "returns": returns(channel, names[0]); break;
                case "rpc": rpc(connection, names[0]); break;
                case "arguments": arguments(connection, names[0], names[1]); break;
                default: throw new IllegalArgumentException(scenario);
            }
        } finally {
            connection.close();
        }
    }

    private static ConnectionFactory factory() {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setHost(System.getenv("BROKER_HOST"));
        factory.setPort(Integer.parseInt(System.getenv("BROKER_PORT")));
        factory.setVirtualHost(System.getenv("BROKER_VHOST"));
        factory.setUsername(System.getenv("BROKER_USERNAME"));
        factory.setPassword(System.getenv("BROKER_PASSWORD"));
        return factory;
    }

    /** Publishes with confirms, consumes with a prefetch, acknowledges each. */
    private static void confirms(Channel channel, String queue) throws Exception {
        channel.queueDeclare(queue, true, false, false, null);
        channel.confirmSelect();
        for (int number = 0; number < 100; number++) {
            channel.basicPublish("", queue, MessageProperties.PERSISTENT_TEXT_PLAIN, bytes(String.valueOf(number)));
        }
        channel.waitForConfirmsOrDie(TIMEOUT_SECONDS * 1000);
        Report.event("confirmed", "ready", channel.messageCount(queue));

        channel.basicQos(10);
        BlockingQueue<Integer> received = new LinkedBlockingQueue<>();
        String tag = channel.basicConsume(queue, false, (consumer, delivery) -> {
            received.add(Integer.parseInt(text(delivery.getBody())));
            channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
        }, consumer -> { });
        List<Integer> numbers = new ArrayList<>();
        while (numbers.size() < 100) {
            numbers.add(next(received));
        }
        channel.basicCancel(tag);
        Report.event("received", "numbers", numbers);
    }

    /** A prefetch for the whole channel, then one for each consumer. */
    private static void prefetch(Channel channel, String queue) throws Exception {
        channel.queueDeclare(queue, false, false, false, null);
        BlockingQueue<Long> tags = new LinkedBlockingQueue<>();
        channel.confirmSelect();
        channel.basicQos(3, true);
        for (int consumer = 0; consumer < 2; consumer++) {
            channel.basicConsume(queue, false, (name, delivery) -> tags.add(delivery.getEnvelope().getDeliveryTag()),
                name -> { });
        }
        for (int number = 0; number < 10; number++) {
            channel.basicPublish("", queue, null, bytes("task"));
        }
        channel.waitForConfirms(TIMEOUT_SECONDS * 1000);
        for (int count = 0; count < 3; count++) {
            next(tags);
        }
        Report.event("channel", "ready", channel.messageCount(queue));
        channel.basicAck(3, true);
        for (int count = 0; count < 3; count++) {
            next(tags);
        }
        Report.event("channel", "ready", channel.messageCount(queue));

        Channel other = channel.getConnection().createChannel();
        other.basicQos(1);
        for (int consumer = 0; consumer < 2; consumer++) {
            other.basicConsume(queue, false, (name, delivery) -> tags.add(delivery.getEnvelope().getDeliveryTag()),
                name -> { });
        }
        next(tags);
        next(tags);
        Report.event("consumers", "ready", other.messageCount(queue));
    }

    private static void transactions(Channel channel, String queue) throws Exception {
        channel.queueDeclare(queue, false, false, false, null);
        channel.txSelect();
        channel.basicPublish("", queue, null, bytes("undone"));
        channel.txRollback();
        channel.basicPublish("", queue, null, bytes("done"));
        Report.event("before", "ready", channel.messageCount(queue));
        channel.txCommit();
        Report.event("after", "ready", channel.messageCount(queue),
            "body", text(channel.basicGet(queue, false).getBody()));
        // The message that was got is neither acknowledged nor committed: it goes back.
    }

    private static void returns(Channel channel, String queue) throws Exception {
        BlockingQueue<String> returned = new LinkedBlockingQueue<>();
        channel.addReturnListener(message -> {
            Report.event("returned", "code", message.getReplyCode(), "text", message.getReplyText(),
                "key", message.getRoutingKey(), "type", message.getProperties().getType());
            returned.add(text(message.getBody()));
        });
        channel.confirmSelect();
        AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder().type("greeting").build();
        channel.basicPublish("", queue, true, properties, bytes("to nobody"));
        Report.event("confirmed", "all", channel.waitForConfirms(TIMEOUT_SECONDS * 1000), "body", next(returned));
    }

    /** Answers come without a queue for them (amq.rabbitmq.reply-to), which is what RpcClient does by itself. */
    private static void rpc(Connection connection, String queue) throws Exception {
        Channel serving = connection.createChannel();
        serving.queueDeclare(queue, false, false, false, null);
        List<Object> addresses = new ArrayList<>();
        RpcServer server = new RpcServer(serving, queue) {
            @Override
            public byte[] handleCall(byte[] request, AMQP.BasicProperties replyProperties) {
                return bytes(text(request).toUpperCase());
            }

            @Override
            public byte[] handleCall(AMQP.BasicProperties request, byte[] body, AMQP.BasicProperties reply) {
                addresses.add(request.getReplyTo().startsWith("amq.rabbitmq.reply-to."));
                return super.handleCall(request, body, reply);
            }
        };
        Thread loop = new Thread(() -> {
            try {
                server.mainloop();
            } catch (IOException error) {
                Report.event("server failed", "error", error.toString());
            }
        });
        loop.start();

        RpcClient client = new RpcClient(connection.createChannel(), "", queue, TIMEOUT_SECONDS * 1000);
        List<Object> answers = new ArrayList<>();
        for (String request : new String[] {"one", "two", "three"}) {
            answers.add(client.stringCall(request));
        }
        Report.event("answered", "answers", answers, "direct", addresses);
        client.close();
        // Its loop ends with its channel.
        serving.close();
        loop.join();
    }

    /** Arguments of a queue by their Java types; the same number in another type is the same argument. */
    private static void arguments(Connection connection, String queue, String dead) throws Exception {
        Channel channel = connection.createChannel();
        channel.queueDeclare(dead, true, false, false, null);
        Map<String, Object> arguments = new HashMap<>();
        arguments.put("x-dead-letter-exchange", "");
        arguments.put("x-dead-letter-routing-key", dead);
        arguments.put("x-max-priority", 5);
        arguments.put("x-message-ttl", 60_000);
        channel.queueDeclare(queue, true, false, false, arguments);
        arguments.put("x-message-ttl", 60_000L);
        channel.queueDeclare(queue, true, false, false, arguments);

        for (int priority : new int[] {1, 5, 3}) {
            channel.basicPublish("", queue, properties().priority(priority).build(), bytes("priority " + priority));
        }
        List<Object> order = new ArrayList<>();
        for (int count = 0; count < 3; count++) {
            order.add(text(channel.basicGet(queue, true).getBody()));
        }
        Report.event("order", "bodies", order);

        BlockingQueue<Map<?, ?>> deaths = new LinkedBlockingQueue<>();
        channel.basicConsume(dead, true, (tag, delivery) -> {
            List<?> history = (List<?>) delivery.getProperties().getHeaders().get("x-death");
            deaths.add((Map<?, ?>) history.get(0));
        }, tag -> { });
        channel.basicPublish("", queue, properties().expiration("50").build(), bytes("late"));
        Map<?, ?> death = next(deaths);
        Report.event("dead", "reason", death.get("reason"), "queue", death.get("queue"), "count", death.get("count"),
            "time", death.get("time").getClass().getSimpleName(), "expiration", death.get("original-expiration"));

        arguments.put("x-message-ttl", 60_001);
        try {
            channel.queueDeclare(queue, true, false, false, arguments);
        } catch (IOException error) {
            Report.event("refused", "text", error.getCause().getMessage());
        }
    }

    /** What the client makes of the broker's refusals. */
    private static void refusals(String queue) throws Exception {
        Connection connection = factory().newConnection();
        Channel channel = connection.createChannel();
        channel.addShutdownListener(cause -> Report.event("channel closed", "hard", cause.isHardError(),
            "by us", cause.isInitiatedByApplication()));
        try {
            channel.queueDeclarePassive(queue);
        } catch (IOException error) {
            Report.event("missing", "text", error.getCause().getMessage());
        }
        try {
            channel.basicPublish("", queue, null, bytes("too late"));
        } catch (AlreadyClosedException error) {
            Report.event("closed", "text", error.getMessage());
        }

        // A tag that was never given closes the channel, too, but nobody waits for the answer.
        Channel acknowledging = connection.createChannel();
        BlockingQueue<String> reasons = new LinkedBlockingQueue<>();
        acknowledging.addShutdownListener(cause -> reasons.add(cause.getMessage()));
        acknowledging.basicAck(42, false);
        Report.event("unknown tag", "text", next(reasons));
        connection.close();

        ConnectionFactory elsewhere = factory();
        elsewhere.setVirtualHost("nowhere");
        refused(elsewhere, "vhost");
        ConnectionFactory stranger = factory();
        stranger.setPassword("wrong");
        refused(stranger, "password");
    }

    private static void refused(ConnectionFactory factory, String what) throws Exception {
        try {
            factory.newConnection().close();
        } catch (IOException error) {
            Throwable reason = error.getCause() == null ? error : error.getCause();
            Report.event(what, "type", error.getClass().getSimpleName(), "text", reason.getMessage());
        }
    }

    /** Everything is declared anew and consumed again when the connection is lost, a queue without a name, too. */
    private static void recovery(int port, String exchange, BufferedReader input) throws Exception {
        ConnectionFactory factory = factory();
        factory.setHost("127.0.0.1");
        factory.setPort(port);
        factory.setNetworkRecoveryInterval(50L);
        Connection connection = factory.newConnection();
        connection.addShutdownListener(cause -> Report.event("lost", "text", cause.getMessage()));
        ((RecoverableConnection) connection).addRecoveryListener(new RecoveryListener() {
            @Override
            public void handleRecovery(Recoverable recovered) {
                Report.event("recovered");
            }

            @Override
            public void handleRecoveryStarted(Recoverable recovered) { }
        });

        Channel channel = connection.createChannel();
        channel.basicQos(5);
        channel.exchangeDeclare(exchange, "direct", false, true, null);
        String queue = channel.queueDeclare().getQueue();
        channel.queueBind(queue, exchange, "key");
        ConsumerShutdownSignalCallback ignore = (tag, cause) -> { };
        channel.basicConsume(queue, false, (tag, delivery) -> {
            channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
            Report.event("received", "body", text(delivery.getBody()));
        }, ignore);
        Report.event("consuming", "queue", queue);
        input.readLine();
        connection.close();
    }

    private static AMQP.BasicProperties.Builder properties() {
        return new AMQP.BasicProperties.Builder().deliveryMode(2);
    }

    private static <T> T next(BlockingQueue<T> queue) throws InterruptedException {
        T value = queue.poll(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        if (value == null) {
            throw new IllegalStateException("nothing came");
        }
        return value;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
