import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.TimeUnit;
import java.util.stream.*;
import java.time.Duration;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.*;

/**
 * Fills a broker's directory, and says all that a client can learn of it, in lines that two brokers can be compared by.
 *
 * write BOOTSTRAP: records of every codec, groups, a cut and a deleted topic.
 * more BOOTSTRAP: more of the same, for a broker that has been stopped in between.
 * offsets BOOTSTRAP: the topic of the groups' offsets, with segments so small that it is soon compacted.
 * transact BOOTSTRAP: committed, aborted and open transactions, and enough commits of one group to be compacted.
 * read BOOTSTRAP: what there is.
 */
public class Directories {
    /** In the year 2100, so that neither records nor producers expire. */
    static final long TIME = 4_102_444_800_000L;
    static String bootstrap;
    static Admin admin;

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[1];
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "default.api.timeout.ms", "30000"));
        switch (arguments[0]) {
            case "write" -> write();
            case "offsets" -> create("__consumer_offsets", 2, Map.of("cleanup.policy", "compact", "internal.segment.bytes", "4000", "segment.index.bytes", "2048"));
            case "more" -> fill("codecs", 3, "more");
            case "transact" -> transact();
            case "read" -> read();
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        System.out.flush();
        // Without closing: an open transaction stays open.
        Runtime.getRuntime().halt(0);
    }

    static void create(String topic, int partitions, Map<String, String> configs) throws Exception {
        Map<String, String> all = new HashMap<>(configs);
        all.put("message.timestamp.after.max.ms", String.valueOf(Long.MAX_VALUE));
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(all))).all().get();
    }

    static KafkaProducer<byte[], byte[]> producer(Map<String, Object> more) {
        Map<String, Object> configs = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "acks", "all",
            "linger.ms", "20", "batch.size", "600", "max.block.ms", "30000"));
        configs.putAll(more);
        return new KafkaProducer<>(configs, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static void fill(String topic, int partitions, String word) throws Exception {
        int minute = 0;
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            long time = TIME + 60_000L * minute++;
            try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("compression.type", codec))) {
                for (int index = 0; index < 60; index++) {
                    byte[] key = index % 3 == 0 ? null : bytes("key-" + index % 7);
                    byte[] value = index % 11 == 0 ? null : bytes((word + "-" + codec + "-" + index + " ").repeat(1 + index % 5));
                    ProducerRecord<byte[], byte[]> one = new ProducerRecord<>(topic, index % partitions, time + 1000L * index, key, value);
                    if (index % 4 == 0) one.headers().add("header", bytes("of " + index)).add("empty", null);
                    producer.send(one);
                }
                producer.flush();
            }
        }
    }

    static void commit(String group, Map<TopicPartition, OffsetAndMetadata> offsets) throws Exception {
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "group.id", group, "enable.auto.commit", "false");
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(offsets.keySet());
            consumer.commitSync(offsets, Duration.ofSeconds(30));
        }
    }

    static void write() throws Exception {
        create("codecs", 3, Map.of("internal.segment.bytes", "4000", "retention.ms", "-1"));
        create("cut", 1, Map.of("internal.segment.bytes", "4000", "retention.ms", "-1"));
        create("empty", 2, Map.of());
        create("gone", 1, Map.of("retention.ms", "-1"));
        fill("codecs", 3, "value");
        fill("cut", 1, "cut");
        fill("gone", 1, "gone");
        admin.deleteRecords(Map.of(new TopicPartition("cut", 0), RecordsToDelete.beforeOffset(123))).all().get();
        admin.deleteTopics(List.of("gone")).all().get();
        commit("readers", Map.of(new TopicPartition("codecs", 0), new OffsetAndMetadata(17, Optional.of(0), "note"),
            new TopicPartition("codecs", 2), new OffsetAndMetadata(100)));
        commit("others", Map.of(new TopicPartition("cut", 0), new OffsetAndMetadata(200)));
        commit("removed", Map.of(new TopicPartition("cut", 0), new OffsetAndMetadata(1)));
        admin.deleteConsumerGroups(List.of("removed")).all().get();
        member("joined");
    }

    /** A group with a real member, so that its metadata is written too. */
    static void member(String group) {
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "group.id", group, "auto.offset.reset", "earliest",
            "group.protocol", "classic", "enable.auto.commit", "false");
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of("codecs"));
            int seen = 0;
            for (int turn = 0; turn < 100 && seen < 300; turn++) seen += consumer.poll(Duration.ofMillis(500)).count();
            if (seen != 300) throw new IllegalStateException("the member saw " + seen);
            consumer.commitSync();
        }
    }

    static void transact() throws Exception {
        create("bank", 1, Map.of("internal.segment.bytes", "3000", "segment.index.bytes", "2048", "retention.ms", "-1"));
        create("cut-too", 1, Map.of("internal.segment.bytes", "4000", "segment.index.bytes", "2048", "retention.ms", "-1"));
        fill("cut-too", 1, "cut");
        admin.deleteRecords(Map.of(new TopicPartition("cut-too", 0), RecordsToDelete.beforeOffset(77))).all().get();
        KafkaProducer<byte[], byte[]> one = producer(Map.of("transactional.id", "one", "transaction.timeout.ms", "900000"));
        KafkaProducer<byte[], byte[]> two = producer(Map.of("transactional.id", "two", "compression.type", "lz4", "transaction.timeout.ms", "900000"));
        one.initTransactions();
        two.initTransactions();
        for (int round = 0; round < 12; round++) {
            one.beginTransaction();
            two.beginTransaction();
            for (int index = 0; index < 5; index++) {
                one.send(new ProducerRecord<>("bank", 0, TIME + round, bytes("one"), bytes("one " + round + " " + index)));
                one.flush();
                two.send(new ProducerRecord<>("bank", 0, TIME + round, bytes("two"), bytes("two " + round + " " + index)));
                two.flush();
            }
            if (round % 3 == 1) one.abortTransaction(); else one.commitTransaction();
            if (round % 4 == 2) two.abortTransaction(); else two.commitTransaction();
        }
        one.beginTransaction();
        one.sendOffsetsToTransaction(Map.of(new TopicPartition("bank", 0), new OffsetAndMetadata(44)), new ConsumerGroupMetadata("in-a-transaction"));
        one.commitTransaction();
        for (int turn = 0; turn < 200; turn++) {
            commit("often", Map.of(new TopicPartition("bank", 0), new OffsetAndMetadata(turn)));
        }
        two.beginTransaction();
        two.send(new ProducerRecord<>("bank", 0, TIME + 99, bytes("two"), bytes("open"))).get();
        try (KafkaProducer<byte[], byte[]> plain = producer(Map.of())) {
            for (int index = 0; index < 10; index++)
                plain.send(new ProducerRecord<>("bank", 0, TIME + 100, null, bytes("behind " + index)));
        }
    }

    static void read() throws Exception {
        List<String> topics = new TreeSet<>(admin.listTopics().names().get()).stream().toList();
        List<TopicPartition> partitions = new ArrayList<>();
        for (String topic : topics) {
            TopicDescription described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
            System.out.println("topic " + topic + " " + described.topicId() + " partitions " + described.partitions().size() + configs(topic));
            described.partitions().forEach(one -> partitions.add(new TopicPartition(topic, one.partition())));
        }
        for (TopicPartition one : partitions) {
            var first = offset(one, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED);
            var end = offset(one, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED);
            var stable = offset(one, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED);
            var greatest = offset(one, OffsetSpec.maxTimestamp(), IsolationLevel.READ_UNCOMMITTED);
            var later = offset(one, OffsetSpec.forTimestamp(TIME + 200_500), IsolationLevel.READ_UNCOMMITTED);
            System.out.println("partition " + one + " start " + first.offset() + " end " + end.offset() + " stable " + stable.offset()
                + (first.offset() < end.offset() ? " epoch " + first.leaderEpoch() : "") + " greatest " + greatest.offset() + "@" + greatest.timestamp()
                + " later " + later.offset() + "@" + later.timestamp());
            producers(one);
            records(one, "read_uncommitted", end.offset());
            records(one, "read_committed", stable.offset());
        }
        for (String group : new TreeSet<>(admin.listGroups().all().get().stream().map(GroupListing::groupId).toList())) {
            var offsets = new TreeMap<String, OffsetAndMetadata>();
            admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((key, value) -> offsets.put(key.toString(), value));
            offsets.forEach((key, value) -> System.out.println("group " + group + " " + key + " " + value));
        }
    }

    static String configs(String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        return admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().stream()
            .filter(entry -> entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG)
            .map(entry -> " " + entry.name() + "=" + entry.value()).sorted().collect(Collectors.joining());
    }

    static ListOffsetsResult.ListOffsetsResultInfo offset(TopicPartition one, OffsetSpec spec, IsolationLevel level) throws Exception {
        return admin.listOffsets(Map.of(one, spec), new ListOffsetsOptions(level)).partitionResult(one).get(30, TimeUnit.SECONDS);
    }

    static void producers(TopicPartition one) throws Exception {
        admin.describeProducers(List.of(one)).partitionResult(one).get().activeProducers().stream()
            .sorted(Comparator.comparingLong(ProducerState::producerId))
            .forEach(state -> System.out.println("producer " + one + " " + state));
    }

    static void records(TopicPartition one, String level, long end) {
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "isolation.level", level, "auto.offset.reset", "earliest");
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(one));
            consumer.seekToBeginning(List.of(one));
            StringBuilder seen = new StringBuilder();
            int count = 0;
            for (int turn = 0; turn < 60 && consumer.position(one) < end; turn++) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    if (record.offset() >= end) continue;
                    count++;
                    String headers = Arrays.stream(record.headers().toArray())
                        .map(header -> header.key() + ":" + text(header.value())).collect(Collectors.joining(","));
                    seen.append("record ").append(record.offset()).append(' ').append(record.timestampType().name).append(' ')
                        .append(record.timestamp()).append(' ').append(record.leaderEpoch().orElse(-1)).append(' ').append(text(record.key()))
                        .append(' ').append(text(record.value())).append(' ').append(headers).append('\n');
                }
            }
            boolean isInternal = one.topic().startsWith("__");
            System.out.println(level + " " + one + " " + count + " records to " + consumer.position(one)
                + " digest " + Integer.toHexString(seen.toString().hashCode()));
            if (!isInternal && level.equals("read_uncommitted")) System.out.print(seen);
            if (!isInternal && level.equals("read_committed")) System.out.println("committed " + offsets(seen));
        }
    }

    static String offsets(StringBuilder seen) {
        return seen.toString().lines().map(line -> line.split(" ")[1]).collect(Collectors.joining(","));
    }

    static String text(byte[] bytes) {
        return bytes == null ? "null" : new String(bytes, StandardCharsets.ISO_8859_1).replaceAll("[^ -~]", ".").trim().replace(' ', '_');
    }
}
