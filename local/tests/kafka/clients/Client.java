// kafka-clients does the script of mod.rs: java -cp 'JARS/*' Client.java BOOTSTRAP TOPIC GROUP BASE_MS CODECS EXTRAS

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Client {
  static final List<String> ROUNDS = List.of("none", "gzip", "snappy", "lz4", "zstd", "late");
  static final int RECORDS_IN_ROUND = 6;
  static final int PARTITIONS = 3;
  static final Duration LIMIT = Duration.ofSeconds(60);
  static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  static String bootstrap, topic, group;
  static long baseMs;

  public static void main(String[] args) throws Exception {
    bootstrap = args[0];
    topic = args[1];
    group = args[2];
    baseMs = Long.parseLong(args[3]);
    List<String> codecs = List.of(args[4].split(","));
    List<String> extras = List.of(args[5].split(","));
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      List<String> brokers = new ArrayList<>();
      admin.describeCluster().nodes().get()
          .forEach(node -> brokers.add(quoted(node.host() + ":" + node.port())));
      say("brokers", brokers);
      NewTopic created = new NewTopic(topic, PARTITIONS, (short) 1);
      admin.createTopics(List.of(created.configs(Map.of("retention.ms", "3600000")))).all().get();
      say("create", true);
      for (String codec : codecs) {
        produce(codec, codec);
      }
      say("produce", codecs.stream().map(Client::quoted).toList());
      say("consume", consume(codecs.size() * RECORDS_IN_ROUND));
      produce("late", "none");
      say("resume", consume(RECORDS_IN_ROUND));
      say("times", times());
      say("describe", describe(admin));
      System.in.read();
      if (extras.contains("transactions")) {
        say("transactions", transactions());
      }
      if (extras.contains("groups")) {
        say("groups", groups(admin));
      }
      if (extras.contains("delete-records")) {
        say("delete-records", deleteRecords(admin));
      }
      if (extras.contains("partitions")) {
        say("partitions", addPartition(admin));
      }
      admin.deleteTopics(List.of(topic)).all().get();
      say("delete", until(() -> !admin.listTopics().names().get().contains(topic)));
    }
  }

  static void produce(String name, String codec) throws Exception {
    Map<String, Object> settings = Map.of(
        "bootstrap.servers", bootstrap,
        "acks", "all",
        "enable.idempotence", true,
        "compression.type", codec,
        // Records go together, so that there is something to compress.
        "linger.ms", 50);
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    try (var producer =
        new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
      for (int number = 0; number < RECORDS_IN_ROUND; number++) {
        long timestamp = baseMs + (ROUNDS.indexOf(name) * RECORDS_IN_ROUND + number) * 1000L;
        String value = ("ä value " + number + " of " + name + " ").repeat(20);
        var record = new ProducerRecord<>(topic, null, timestamp, name + "-" + number, value);
        record.headers().add("round", name.getBytes(StandardCharsets.UTF_8));
        record.headers().add("number", String.valueOf(number).getBytes(StandardCharsets.UTF_8));
        sent.add(producer.send(record));
      }
      for (Future<RecordMetadata> record : sent) {
        record.get();
      }
    }
  }

  static KafkaConsumer<String, String> consumer() {
    Map<String, Object> settings = Map.of(
        "bootstrap.servers", bootstrap,
        "group.id", group,
        "auto.offset.reset", "earliest",
        "isolation.level", "read_committed",
        "enable.auto.commit", false);
    return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
  }

  static List<Object> consume(int count) {
    List<Object> seen = new ArrayList<>();
    try (var consumer = consumer()) {
      consumer.subscribe(List.of(topic));
      long deadline = System.nanoTime() + LIMIT.toNanos();
      while (seen.size() < count && System.nanoTime() < deadline) {
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
          List<Object> headers = new ArrayList<>();
          for (Header header : record.headers()) {
            String value = new String(header.value(), StandardCharsets.UTF_8);
            headers.add(List.of(quoted(header.key()), quoted(value)));
          }
          seen.add(List.of(record.partition(), record.offset(), quoted(record.key()),
              quoted(record.value()), headers, record.timestamp()));
        }
      }
      consumer.commitSync();
    }
    return seen;
  }

  static List<Object> times() {
    List<Object> found = new ArrayList<>();
    try (var consumer = consumer()) {
      Map<TopicPartition, Long> asked = new HashMap<>();
      for (int partition = 0; partition < PARTITIONS; partition++) {
        asked.put(new TopicPartition(topic, partition), baseMs + 15_500);
      }
      consumer.offsetsForTimes(asked)
          .forEach((partition, at) -> found.add(List.of(partition.partition(), at.offset())));
    }
    return found;
  }

  static int partitions(Admin admin) throws Exception {
    return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
  }

  static String describe(Admin admin) throws Exception {
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    var config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
    String retention = quoted(config.get("retention.ms").value());
    return "{\"partitions\":" + partitions(admin) + ",\"retention.ms\":" + retention + "}";
  }

  static List<Object> transactions() throws Exception {
    Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "transactional.id", group);
    try (var producer =
        new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
      producer.initTransactions();
      for (String key : List.of("aborted", "committed")) {
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, key, key)).get();
        if (key.equals("committed")) {
          producer.commitTransaction();
        } else {
          producer.abortTransaction();
        }
      }
    }
    List<Object> seen = new ArrayList<>();
    try (var consumer = consumer()) {
      consumer.assign(List.of(new TopicPartition(topic, 0)));
      consumer.seekToBeginning(consumer.assignment());
      long deadline = System.nanoTime() + LIMIT.toNanos();
      while (!seen.contains(quoted("committed")) && System.nanoTime() < deadline) {
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
          if (record.value().equals(record.key())) {
            seen.add(quoted(record.key()));
          }
        }
      }
    }
    return seen;
  }

  static boolean listed(Admin admin) throws Exception {
    return admin.listGroups().all().get().stream().anyMatch(it -> it.groupId().equals(group));
  }

  static String groups(Admin admin) throws Exception {
    boolean there = listed(admin);
    var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
    boolean empty = described.groupState() == GroupState.EMPTY;
    admin.deleteConsumerGroups(List.of(group)).all().get();
    return "{\"listed\":" + there + ",\"empty\":" + empty + ",\"deleted\":" + !listed(admin) + "}";
  }

  static String deleteRecords(Admin admin) throws Exception {
    TopicPartition partition = new TopicPartition(topic, 0);
    admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(1))).all().get();
    var first = admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).all().get();
    return "{\"first\":" + first.get(partition).offset() + "}";
  }

  static String addPartition(Admin admin) throws Exception {
    admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(PARTITIONS + 1))).all().get();
    until(() -> partitions(admin) > PARTITIONS);
    return "{\"partitions\":" + partitions(admin) + "}";
  }

  interface Condition {
    boolean holds() throws Exception;
  }

  static boolean until(Condition condition) throws Exception {
    long deadline = System.nanoTime() + LIMIT.toNanos();
    while (System.nanoTime() < deadline) {
      if (condition.holds()) {
        return true;
      }
    }
    return false;
  }

  /** The script's texts have nothing in them that JSON escapes. */
  static String quoted(String text) {
    return '"' + text + '"';
  }

  /** A list prints as JSON does. */
  static void say(String step, Object seen) {
    OUT.println(step + "\t" + seen);
  }
}
