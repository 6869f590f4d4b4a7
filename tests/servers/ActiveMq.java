import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.apache.activemq.broker.BrokerPlugin;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.security.AuthenticationUser;
import org.apache.activemq.security.AuthorizationEntry;
import org.apache.activemq.security.AuthorizationPlugin;
import org.apache.activemq.security.DefaultAuthorizationMap;
import org.apache.activemq.security.SimpleAuthenticationPlugin;

/**
 * ActiveMQ Classic with its MQTT connector, in one process and without a file on disk.
 *
 * <p>{@code java -cp JARS ActiveMq.java PORT [USER=PASSWORD …] [USER:PARTNER …]}: port 0 takes a free one; the real one
 * is printed as {@code listening on PORT}. Without users everyone may do everything. With users each may write below its
 * own name and read what is addressed to it, in ActiveMQ's spelling of topics: {@code .} for {@code /}, {@code *} for
 * {@code +} and {@code >} for {@code #}. Partners may also read each other's bare topic, which {@code --topic '{from}'}
 * needs.
 *
 * <p>With {@code -Djavax.net.ssl.keyStore=FILE -Djavax.net.ssl.keyStorePassword=PASSWORD} before the file's name it
 * speaks TLS, with the certificate and key in that PKCS #12 file.
 *
 * <p>JARS are those of Debian's libactivemq-java and, not pulled in by it, libmqtt-client-java: without the latter the
 * connector starts, and every CONNECT hangs.
 */
public final class ActiveMq {
    /**
     * A bare {@code maxFrameSize} does nothing; it is an option of the wire format. Without {@code tcpNoDelay} small
     * messages, and so the steps of a call's set-up, wait for up to 40 ms.
     */
    private static final String CONNECTOR =
            "%s://127.0.0.1:%s?wireFormat.maxFrameSize=262144&transport.tcpNoDelay=true";

    private static final String EVERYONE = "peers";
    private static final String NOBODY = "nobody";

    public static void main(String[] arguments) throws Exception {
        BrokerService broker = new BrokerService();
        broker.setPersistent(false);
        broker.setUseJmx(false);
        broker.setUseShutdownHook(true);
        List<String> users = Stream.of(arguments).skip(1).filter(argument -> argument.contains("=")).toList();
        List<String> partners = Stream.of(arguments).skip(1).filter(argument -> !argument.contains("=")).toList();
        if (!users.isEmpty()) {
            broker.setPlugins(new BrokerPlugin[] {logins(users), topics(users, partners)});
        }
        String scheme = System.getProperty("javax.net.ssl.keyStore") == null ? "mqtt" : "mqtt+nio+ssl";
        broker.addConnector(String.format(CONNECTOR, scheme, arguments[0]));
        broker.start();
        broker.waitUntilStarted();
        String address = broker.getTransportConnectors().get(0).getPublishableConnectString();
        System.out.println("listening on " + address.replaceAll(".*:(\\d+).*", "$1"));
        broker.waitUntilStopped();
    }

    /** Every user is in the group of all peers and in one of its own. */
    private static BrokerPlugin logins(List<String> users) {
        List<AuthenticationUser> known = new ArrayList<>();
        for (String user : users) {
            String[] parts = user.split("=", 2);
            known.add(new AuthenticationUser(parts[0], parts[1], EVERYONE + "," + group(parts[0])));
        }
        SimpleAuthenticationPlugin plugin = new SimpleAuthenticationPlugin();
        plugin.setUsers(known);
        return plugin;
    }

    /** Entries add up: of all that match a topic, each group that one of them names has the right. */
    private static BrokerPlugin topics(List<String> users, List<String> partners) throws Exception {
        List<org.apache.activemq.filter.DestinationMapEntry> entries = new ArrayList<>();
        // Whatever no other entry names belongs to nobody; admin is the right to create a topic by using it.
        entries.add(entry(">", NOBODY, NOBODY, NOBODY));
        // The broker tells there who connects and subscribes, and creates these topics in each client's name.
        entries.add(entry("ActiveMQ.Advisory.>", NOBODY, NOBODY, EVERYONE));
        for (String user : users) {
            String id = user.split("=", 2)[0];
            entries.add(entry("tring.call." + id + ".*", NOBODY, group(id), group(id)));
            entries.add(entry("tring.call.*." + id, group(id), NOBODY, group(id)));
            entries.add(entry("tring.agent." + id + ".*", NOBODY, group(id), group(id)));
            entries.add(entry("tring.agent.*." + id, group(id), NOBODY, group(id)));
            // Whoever watches a peer that was never there creates the topic.
            entries.add(entry("tring.presence." + id, EVERYONE, group(id), EVERYONE));
            // the plain form, --topic '{from}'
            String readers = readers(id, partners);
            entries.add(entry(id, readers, group(id), readers));
        }
        return new AuthorizationPlugin(new DefaultAuthorizationMap(entries));
    }

    /** A user and its partners. */
    private static String readers(String id, List<String> partners) {
        Stream<String> others = partners.stream()
            .map(pair -> List.of(pair.split(":", 2)))
            .filter(pair -> pair.contains(id))
            .flatMap(List::stream);
        return String.join(",", Stream.concat(Stream.of(id), others).distinct().map(ActiveMq::group).toList());
    }

    private static AuthorizationEntry entry(String topic, String read, String write, String admin) throws Exception {
        AuthorizationEntry entry = new AuthorizationEntry();
        entry.setTopic(topic);
        entry.setRead(read);
        entry.setWrite(write);
        entry.setAdmin(admin);
        return entry;
    }

    private static String group(String id) {
        return "g_" + id;
    }
}
