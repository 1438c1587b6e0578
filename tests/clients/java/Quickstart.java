import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.*;

/** The quickstart with the Java client and its corners: one line a check. */
public class Quickstart {
    interface Body { void run() throws Exception; }

    static String bootstrap;
    static String topic;
    static String group;
    static Admin admin;

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        topic = "quick-" + arguments[1];
        group = "quick-group-" + arguments[1];
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "default.api.timeout.ms", "20000", "request.timeout.ms", "10000"));
        check("create-topic", Quickstart::createTopic);
        check("create-topic-again-is-refused", () -> refused(TopicExistsException.class,
            () -> admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1))).all().get()));
        check("create-topic-with-bad-name-is-refused", () -> refused(InvalidTopicException.class,
            () -> admin.createTopics(List.of(new NewTopic("no spaces", 3, (short) 1))).all().get()));
        check("create-topic-with-bad-config-is-refused", () -> refused(InvalidConfigurationException.class,
            () -> admin.createTopics(List.of(new NewTopic(topic + "-bad", 1, (short) 1).configs(Map.of("retention.ms", "soon")))).all().get()));
        check("list-topics", () -> that(admin.listTopics().names().get().contains(topic), "not listed"));
        check("describe-topic", Quickstart::describeTopic);
        check("describe-cluster", Quickstart::describeCluster);
        check("produce", () -> produce(topic, 300, Map.of()));
        check("consume-from-the-beginning", Quickstart::consumeAll);
        check("consume-in-a-group", () -> same(300, groupRead(300).size()));
        check("commit-is-remembered", Quickstart::committed);
        check("resume-from-the-commit", Quickstart::resume);
        check("offsets-by-time", Quickstart::offsetsByTime);
        check("seek", Quickstart::seek);
        check("out-of-range-resets", Quickstart::outOfRange);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            check("compression-" + codec, () -> compression(codec));
        }
        check("headers-and-nulls", Quickstart::headersAndNulls);
        check("create-time-is-kept", Quickstart::createTime);
        check("log-append-time", Quickstart::logAppendTime);
        check("large-record", Quickstart::largeRecord);
        check("too-large-record-is-refused", Quickstart::tooLarge);
        check("acks-zero-and-one", Quickstart::acks);
        check("unknown-topic-id-fetch", Quickstart::recreatedTopic);
        check("describe-configs", Quickstart::describeConfigs);
        check("alter-configs", Quickstart::alterConfigs);
        check("create-partitions", Quickstart::createPartitions);
        check("delete-records", Quickstart::deleteRecords);
        check("list-offsets-specs", Quickstart::listOffsets);
        check("describe-log-dirs", Quickstart::describeLogDirs);
        check("describe-producers", Quickstart::describeProducers);
        check("describe-metadata-quorum", () -> that(admin.describeMetadataQuorum().quorumInfo().get().leaderId() >= 0, "no leader"));
        check("list-groups", () -> that(admin.listGroups().all().get().stream().anyMatch(one -> one.groupId().equals(group)), "not listed"));
        check("describe-group", Quickstart::describeGroup);
        check("alter-group-offsets", Quickstart::alterGroupOffsets);
        check("delete-group-offsets", Quickstart::deleteGroupOffsets);
        check("two-members-rebalance", () -> twoMembers("org.apache.kafka.clients.consumer.RangeAssignor", "eager"));
        check("two-members-cooperative", () -> twoMembers("org.apache.kafka.clients.consumer.CooperativeStickyAssignor", "cooperative"));
        check("static-member-keeps-its-partitions", Quickstart::staticMember);
        check("delete-group", () -> admin.deleteConsumerGroups(List.of(group)).all().get());
        check("transactions-answer-at-once", Quickstart::transactions);
        check("delete-topic", Quickstart::deleteTopic);
        admin.close(Duration.ofSeconds(5));
        System.exit(0);
    }

    static void check(String name, Body body) {
        ExecutorService one = Executors.newSingleThreadExecutor(task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        try {
            one.submit(() -> { body.run(); return null; }).get(60, TimeUnit.SECONDS);
            System.out.println("ok " + name);
        } catch (java.util.concurrent.TimeoutException late) {
            System.out.println("FAIL " + name + " no end within 60 s");
        } catch (Exception error) {
            Throwable cause = error;
            while (cause.getCause() != null && cause instanceof ExecutionException) cause = cause.getCause();
            System.out.println("FAIL " + name + " " + String.valueOf(cause).replace('\n', ' '));
        } finally {
            one.shutdownNow();
        }
    }

    static void that(boolean good, String otherwise) {
        if (!good) throw new IllegalStateException(otherwise);
    }

    static void same(Object wanted, Object found) {
        that(Objects.equals(wanted, found), "wanted " + wanted + ", found " + found);
    }

    static void refused(Class<? extends Exception> wanted, Body body) throws Exception {
        try {
            body.run();
        } catch (Exception error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            that(wanted.isInstance(cause), "wanted " + wanted.getSimpleName() + ", found " + cause);
            return;
        }
        throw new IllegalStateException("it was not refused");
    }

    static Properties settings(Map<String, ?> more) {
        Properties all = new Properties();
        all.put("bootstrap.servers", bootstrap);
        all.put("key.serializer", StringSerializer.class.getName());
        all.put("value.serializer", StringSerializer.class.getName());
        all.put("key.deserializer", StringDeserializer.class.getName());
        all.put("value.deserializer", StringDeserializer.class.getName());
        all.put("auto.offset.reset", "earliest");
        all.put("enable.auto.commit", "false");
        all.putAll(more);
        return all;
    }

    static KafkaConsumer<String, String> consumer(Map<String, ?> more) {
        return new KafkaConsumer<>(settings(more));
    }

    static List<RecordMetadata> produce(String to, int count, Map<String, ?> more) throws Exception {
        try (var producer = new KafkaProducer<String, String>(settings(more))) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < count; i++) sent.add(producer.send(new ProducerRecord<>(to, "key-" + i, "value-" + i)));
            List<RecordMetadata> done = new ArrayList<>();
            for (var one : sent) done.add(one.get(20, TimeUnit.SECONDS));
            return done;
        }
    }

    static List<ConsumerRecord<String, String>> read(KafkaConsumer<String, String> consumer, int count) {
        List<ConsumerRecord<String, String>> found = new ArrayList<>();
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (found.size() < count && System.nanoTime() < end) consumer.poll(Duration.ofMillis(200)).forEach(found::add);
        return found;
    }

    static List<ConsumerRecord<String, String>> readFrom(String from, int partition, long offset, int count) {
        try (var consumer = consumer(Map.of())) {
            var place = new TopicPartition(from, partition);
            consumer.assign(List.of(place));
            consumer.seek(place, offset);
            return read(consumer, count);
        }
    }

    static void newTopic(String name, int partitions, Map<String, String> configs) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all().get();
    }

    static void createTopic() throws Exception {
        var result = admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1)));
        result.all().get();
        same(3, result.numPartitions(topic).get());
        that(!result.topicId(topic).get().equals(Uuid.ZERO_UUID), "no topic id");
    }

    static void describeTopic() throws Exception {
        var found = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        same(3, found.partitions().size());
        for (var partition : found.partitions()) {
            that(partition.leader() != null, "no leader");
            same(1, partition.isr().size());
        }
        refused(UnknownTopicOrPartitionException.class, () -> admin.describeTopics(List.of(topic + "-not")).allTopicNames().get());
    }

    static void describeCluster() throws Exception {
        var cluster = admin.describeCluster();
        same(1, cluster.nodes().get().size());
        same(22, cluster.clusterId().get().length());
    }

    static void consumeAll() {
        try (var consumer = consumer(Map.of())) {
            consumer.assign(IntStream.range(0, 3).mapToObj(p -> new TopicPartition(topic, p)).toList());
            consumer.seekToBeginning(consumer.assignment());
            var found = read(consumer, 300);
            same(300, found.size());
            Map<Integer, Long> next = new HashMap<>();
            for (var one : found) {
                same(next.getOrDefault(one.partition(), 0L), one.offset());
                next.put(one.partition(), one.offset() + 1);
            }
        }
    }

    static List<String> groupRead(int count) {
        try (var consumer = consumer(Map.of("group.id", group))) {
            consumer.subscribe(List.of(topic));
            var found = read(consumer, count);
            consumer.commitSync();
            return found.stream().map(ConsumerRecord::value).toList();
        }
    }

    static void committed() throws Exception {
        var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        same(300L, offsets.values().stream().mapToLong(OffsetAndMetadata::offset).sum());
    }

    static void resume() throws Exception {
        produce(topic, 10, Map.of());
        same(10, groupRead(10).size());
    }

    static void offsetsByTime() throws Exception {
        String name = topic + "-time";
        newTopic(name, 1, Map.of());
        var place = new TopicPartition(name, 0);
        long now = System.currentTimeMillis();
        try (var producer = new KafkaProducer<String, String>(settings(Map.of()))) {
            for (int i = 0; i < 5; i++) producer.send(new ProducerRecord<>(name, 0, now + i * 1000, "k", "v" + i)).get();
        }
        try (var consumer = consumer(Map.of())) {
            var found = consumer.offsetsForTimes(Map.of(place, now + 1500)).get(place);
            same(2L, found.offset());
            same(now + 2000, found.timestamp());
            same(null, consumer.offsetsForTimes(Map.of(place, now + 99000)).get(place));
            same(Map.of(place, 5L), consumer.endOffsets(List.of(place)));
            same(Map.of(place, 0L), consumer.beginningOffsets(List.of(place)));
        }
    }

    static void seek() {
        var found = readFrom(topic + "-time", 0, 3, 2);
        same(List.of("v3", "v4"), found.stream().map(ConsumerRecord::value).toList());
    }

    static void outOfRange() {
        same(5, readFrom(topic + "-time", 0, 1000, 5).size());
        try (var consumer = consumer(Map.of("auto.offset.reset", "none"))) {
            var place = new TopicPartition(topic + "-time", 0);
            consumer.assign(List.of(place));
            consumer.seek(place, 1000);
            try {
                read(consumer, 1);
            } catch (OffsetOutOfRangeException wanted) {
                return;
            }
            throw new IllegalStateException("no OffsetOutOfRangeException");
        }
    }

    static void compression(String codec) throws Exception {
        String name = topic + "-" + codec;
        newTopic(name, 1, Map.of());
        produce(name, 200, Map.of("compression.type", codec, "linger.ms", "50"));
        var found = readFrom(name, 0, 0, 200);
        same(IntStream.range(0, 200).mapToObj(i -> "value-" + i).toList(), found.stream().map(ConsumerRecord::value).toList());
    }

    static void headersAndNulls() throws Exception {
        String name = topic + "-headers";
        newTopic(name, 1, Map.of());
        try (var producer = new KafkaProducer<String, String>(settings(Map.of()))) {
            var record = new ProducerRecord<String, String>(name, null, null);
            record.headers().add("a", new byte[] {1, 2}).add("a", new byte[0]).add("b", null);
            producer.send(record).get();
        }
        var found = readFrom(name, 0, 0, 1).get(0);
        same(null, found.key());
        same(null, found.value());
        var headers = found.headers().toArray();
        same(3, headers.length);
        that(Arrays.equals(new byte[] {1, 2}, headers[0].value()), "first header");
        same(0, headers[1].value().length);
        same(null, headers[2].value());
    }

    static void createTime() throws Exception {
        String name = topic + "-created";
        newTopic(name, 1, Map.of());
        try (var producer = new KafkaProducer<String, String>(settings(Map.of()))) {
            producer.send(new ProducerRecord<>(name, 0, 1000L, "k", "v")).get();
        }
        var found = readFrom(name, 0, 0, 1).get(0);
        same(1000L, found.timestamp());
        same("CreateTime", found.timestampType().toString());
    }

    static void logAppendTime() throws Exception {
        String name = topic + "-appended";
        newTopic(name, 1, Map.of("message.timestamp.type", "LogAppendTime"));
        long before = System.currentTimeMillis();
        try (var producer = new KafkaProducer<String, String>(settings(Map.of()))) {
            var done = producer.send(new ProducerRecord<>(name, 0, 1000L, "k", "v")).get();
            that(done.timestamp() >= before, "acknowledged time " + done.timestamp());
        }
        var found = readFrom(name, 0, 0, 1).get(0);
        that(found.timestamp() >= before && found.timestamp() <= System.currentTimeMillis(), "time " + found.timestamp());
        same("LogAppendTime", found.timestampType().toString());
    }

    static void largeRecord() throws Exception {
        String name = topic + "-large";
        newTopic(name, 1, Map.of("max.message.bytes", "6000000"));
        String value = "x".repeat(5_000_000);
        try (var producer = new KafkaProducer<String, String>(settings(Map.of("max.request.size", "7000000")))) {
            producer.send(new ProducerRecord<>(name, "k", value)).get();
        }
        same(5_000_000, readFrom(name, 0, 0, 1).get(0).value().length());
    }

    static void tooLarge() throws Exception {
        try (var producer = new KafkaProducer<String, String>(settings(Map.of("max.request.size", "7000000")))) {
            refused(RecordTooLargeException.class, () -> producer.send(new ProducerRecord<>(topic, "k", "x".repeat(2_000_000))).get());
            producer.send(new ProducerRecord<>(topic + "-none", "k", "after")).get();
        }
    }

    static void acks() throws Exception {
        String name = topic + "-acks";
        newTopic(name, 1, Map.of());
        produce(name, 5, Map.of("acks", "0", "enable.idempotence", "false"));
        produce(name, 5, Map.of("acks", "1", "enable.idempotence", "false"));
        same(10, readFrom(name, 0, 0, 10).size());
    }

    static void recreatedTopic() throws Exception {
        String name = topic + "-again";
        newTopic(name, 1, Map.of());
        produce(name, 3, Map.of());
        try (var consumer = consumer(Map.of())) {
            consumer.assign(List.of(new TopicPartition(name, 0)));
            same(3, read(consumer, 3).size());
            admin.deleteTopics(List.of(name)).all().get();
            eventually(() -> { newTopic(name, 1, Map.of()); return true; });
            produce(name, 4, Map.of());
            same(4, readFrom(name, 0, 0, 4).size());
        }
    }

    interface Attempt { boolean run() throws Exception; }

    static void eventually(Attempt attempt) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(15);
        Exception last = null;
        while (System.nanoTime() < end) {
            try {
                if (attempt.run()) return;
            } catch (Exception error) {
                last = error;
            }
            Thread.sleep(100);
        }
        throw new IllegalStateException("it did not come about", last);
    }

    static Config configs(ConfigResource.Type type, String name) throws Exception {
        var resource = new ConfigResource(type, name);
        var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        return admin.describeConfigs(List.of(resource), options).all().get().get(resource);
    }

    static void describeConfigs() throws Exception {
        var ofTopic = configs(ConfigResource.Type.TOPIC, topic);
        same("604800000", ofTopic.get("retention.ms").value());
        same(ConfigEntry.ConfigSource.DEFAULT_CONFIG, ofTopic.get("retention.ms").source());
        same(ConfigEntry.ConfigType.LONG, ofTopic.get("retention.ms").type());
        that(ofTopic.get("retention.ms").documentation().length() > 10, "no documentation");
        var ofBroker = configs(ConfigResource.Type.BROKER, "0");
        same("0", ofBroker.get("node.id").value());
        that(ofBroker.get("node.id").isReadOnly(), "node.id can be altered");
        refused(UnknownTopicOrPartitionException.class, () -> configs(ConfigResource.Type.TOPIC, topic + "-not"));
    }

    static void alterConfigs() throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "1000000"), AlterConfigOp.OpType.SET),
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND)))).all().get();
        eventually(() -> configs(ConfigResource.Type.TOPIC, topic).get("retention.ms").value().equals("1000000"));
        var found = configs(ConfigResource.Type.TOPIC, topic);
        same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, found.get("retention.ms").source());
        same("delete,compact", found.get("cleanup.policy").value());
        admin.incrementalAlterConfigs(Map.of(resource, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE),
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.SUBTRACT)))).all().get();
        eventually(() -> configs(ConfigResource.Type.TOPIC, topic).get("retention.ms").value().equals("604800000"));
        refused(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(Map.of(resource, List.of(
            new AlterConfigOp(new ConfigEntry("no.such.key", "1"), AlterConfigOp.OpType.SET)))).all().get());
    }

    static void createPartitions() throws Exception {
        String name = topic + "-wider";
        newTopic(name, 1, Map.of());
        admin.createPartitions(Map.of(name, NewPartitions.increaseTo(4))).all().get();
        eventually(() -> admin.describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().size() == 4);
        refused(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(name, NewPartitions.increaseTo(2))).all().get());
    }

    static void deleteRecords() throws Exception {
        var place = new TopicPartition(topic + "-time", 0);
        same(2L, admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(2))).lowWatermarks().get(place).get().lowWatermark());
        try (var consumer = consumer(Map.of())) {
            same(Map.of(place, 2L), consumer.beginningOffsets(List.of(place)));
        }
        same(3, readFrom(topic + "-time", 0, 2, 3).size());
        refused(org.apache.kafka.common.errors.OffsetOutOfRangeException.class,
            () -> admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(99))).all().get());
    }

    static void listOffsets() throws Exception {
        var place = new TopicPartition(topic + "-time", 0);
        Map<OffsetSpec, Long> wanted = Map.of(OffsetSpec.earliest(), 2L, OffsetSpec.latest(), 5L, OffsetSpec.maxTimestamp(), 4L);
        for (var one : wanted.entrySet()) {
            same(one.getValue(), admin.listOffsets(Map.of(place, one.getKey())).partitionResult(place).get().offset());
        }
    }

    static void describeLogDirs() throws Exception {
        var found = admin.describeLogDirs(List.of(0)).allDescriptions().get().get(0);
        same(1, found.size());
        var replica = found.values().iterator().next().replicaInfos().get(new TopicPartition(topic + "-large", 0));
        that(replica != null && replica.size() > 5_000_000, "size " + replica);
    }

    static void describeProducers() throws Exception {
        var place = new TopicPartition(topic + "-gzip", 0);
        var states = admin.describeProducers(List.of(place)).partitionResult(place).get().activeProducers();
        same(1, states.size());
        that(states.get(0).lastSequence() == 199, "sequence " + states.get(0).lastSequence());
    }

    static void describeGroup() throws Exception {
        try (var consumer = consumer(Map.of("group.id", group + "-live", "client.id", "the-member"))) {
            consumer.subscribe(List.of(topic));
            read(consumer, 1);
            var found = admin.describeConsumerGroups(List.of(group + "-live")).all().get().get(group + "-live");
            same(GroupState.STABLE, found.groupState());
            same("range", found.partitionAssignor());
            var member = found.members().iterator().next();
            same("the-member", member.clientId());
            same(3, member.assignment().topicPartitions().size());
        }
        var empty = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        same(GroupState.EMPTY, empty.groupState());
        refused(GroupIdNotFoundException.class, () -> admin.describeConsumerGroups(List.of(group + "-not")).all().get());
    }

    static void alterGroupOffsets() throws Exception {
        var place = new TopicPartition(topic, 1);
        admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(3, "by hand"))).all().get();
        var found = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(place);
        same(3L, found.offset());
        same("by hand", found.metadata());
    }

    static void deleteGroupOffsets() throws Exception {
        var place = new TopicPartition(topic, 1);
        admin.deleteConsumerGroupOffsets(group, Set.of(place)).all().get();
        same(null, admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(place));
    }

    /** Two members in threads of their own until both own something; then one leaves and the other owns all. */
    static void twoMembers(String assignor, String name) throws Exception {
        Map<String, Object> more = Map.of("group.id", group + "-" + name, "partition.assignment.strategy", assignor,
            "heartbeat.interval.ms", "300", "session.timeout.ms", "10000");
        Map<Integer, Set<TopicPartition>> owned = new ConcurrentHashMap<>();
        Set<Integer> stopped = ConcurrentHashMap.newKeySet();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            int member = i;
            Thread thread = new Thread(() -> {
                try (var consumer = consumer(more)) {
                    consumer.subscribe(List.of(topic));
                    while (!stopped.contains(member)) {
                        consumer.poll(Duration.ofMillis(100));
                        owned.put(member, consumer.assignment());
                    }
                }
                owned.remove(member);
            });
            thread.setDaemon(true);
            thread.start();
            threads.add(thread);
        }
        try {
            eventually(() -> owned.size() == 2 && owned.values().stream().noneMatch(Set::isEmpty)
                && owned.values().stream().mapToInt(Set::size).sum() == 3);
            stopped.add(0);
            eventually(() -> owned.size() == 1 && owned.get(1).size() == 3);
        } finally {
            stopped.addAll(List.of(0, 1));
            for (Thread thread : threads) thread.join(5000);
        }
    }

    static void staticMember() throws Exception {
        Map<String, Object> more = Map.of("group.id", group + "-static", "group.instance.id", "one", "session.timeout.ms", "30000");
        int[] generation = new int[2];
        for (int life = 0; life < 2; life++) {
            try (var consumer = consumer(more)) {
                consumer.subscribe(List.of(topic));
                read(consumer, 1);
                same(3, consumer.assignment().size());
                same("one", consumer.groupMetadata().groupInstanceId().get());
                generation[life] = consumer.groupMetadata().generationId();
            }
        }
        same(generation[0], generation[1]);
        var options = new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("one")));
        admin.removeMembersFromConsumerGroup(group + "-static", options).all().get();
        eventually(() -> admin.describeConsumerGroups(List.of(group + "-static")).all().get().get(group + "-static").members().isEmpty());
    }

    /** Either it works or the client is told so at once; it must not wait for its time-out of a minute. */
    static void transactions() {
        long start = System.nanoTime();
        var producer = new KafkaProducer<String, String>(settings(Map.of("transactional.id", topic, "max.block.ms", "40000")));
        try {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic + "-none", "k", "in a transaction"));
            producer.commitTransaction();
        } catch (KafkaException answered) {
            that(!(answered instanceof TimeoutException), "it waited for its time-out");
        } finally {
            producer.close(Duration.ZERO);
        }
        long seconds = TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - start);
        that(seconds < 15, "the answer took " + seconds + " s");
    }

    static void deleteTopic() throws Exception {
        admin.deleteTopics(List.of(topic)).all().get();
        eventually(() -> !admin.listTopics().names().get().contains(topic));
        refused(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(topic + "-not")).all().get());
    }
}
