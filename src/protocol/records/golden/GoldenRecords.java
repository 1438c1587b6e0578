// Makes the golden files beside it with Kafka's own classes (4.3.1), and checks our batches with them.
//
//   javac -cp 'LIBS/*' -d OUT GoldenRecords.java
//   java -cp 'OUT:LIBS/*' GoldenRecords batches  > batches.txt
//   java -cp 'OUT:LIBS/*' GoldenRecords verdicts > verdicts.txt
//   java -cp 'OUT:LIBS/*' GoldenRecords describe < FILE      one batch in hex a line, described as in batches.txt
//   java -cp 'OUT:LIBS/*' GoldenRecords judge < FILE         one request in hex a line, judged as in verdicts.txt

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.*;
import java.util.function.Supplier;
import java.util.zip.CRC32C;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.ByteBufferOutputStream;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.storage.log.FetchIsolation;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.*;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class GoldenRecords {
    static final long NOW = 1_700_000_000_000L;
    static final long FIRST_OFFSET = 100;
    static final int LEADER_EPOCH = 7;
    static final Header[] NONE = new Header[0];

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "batches" -> batches();
            case "verdicts" -> verdicts();
            case "describe" -> describeInput();
            case "judge" -> judgeInput();
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    // ---- description

    static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }

    static byte[] bytes(ByteBuffer buffer) {
        ByteBuffer copy = buffer.duplicate();
        byte[] bytes = new byte[copy.remaining()];
        copy.get(bytes);
        return bytes;
    }

    /** Bytes in hex, long ones as length and checksum. */
    static String blob(ByteBuffer buffer) {
        if (buffer == null)
            return "null";
        if (buffer.remaining() <= 80)
            return "x" + hex(bytes(buffer));
        CRC32C crc = new CRC32C();
        crc.update(bytes(buffer));
        return String.format("%d/%08x", buffer.remaining(), crc.getValue());
    }

    static void describe(RecordBatch batch) {
        DefaultRecordBatch b = (DefaultRecordBatch) batch;
        System.out.printf("header base_offset=%d last_offset=%d leader_epoch=%d compression=%s timestamp_type=%s "
                + "transactional=%s control=%s base_timestamp=%d max_timestamp=%d producer=%d/%d/%d last_sequence=%d "
                + "delete_horizon=%d count=%d valid=%s%n",
            b.baseOffset(), b.lastOffset(), b.partitionLeaderEpoch(), b.compressionType().name, b.timestampType(),
            b.isTransactional(), b.isControlBatch(), b.baseTimestamp(), b.maxTimestamp(), b.producerId(),
            b.producerEpoch(), b.baseSequence(), b.lastSequence(), b.deleteHorizonMs().orElse(-1), b.countOrNull(),
            b.isValid());
        for (Record record : b) {
            StringBuilder headers = new StringBuilder();
            for (Header header : record.headers()) {
                headers.append(' ').append('x').append(hex(header.key().getBytes(StandardCharsets.UTF_8)));
                headers.append(':').append(header.value() == null ? "null" : "x" + hex(header.value()));
            }
            String control = b.isControlBatch() ? " control=" + ControlRecordType.parseTypeId(record.key()) : "";
            System.out.printf("record offset=%d timestamp=%d key=%s value=%s headers=[%s]%s%n", record.offset(),
                record.timestamp(), blob(record.key()), blob(record.value()), headers.toString().trim(), control);
        }
    }

    static void describeInput() throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ByteBuffer buffer = ByteBuffer.wrap(HexFormat.of().parseHex(line.trim()));
            for (RecordBatch batch : MemoryRecords.readableRecords(buffer).batches())
                describe(batch);
        }
    }

    static void batch(String name, ByteBuffer buffer) {
        System.out.println("batch " + name);
        System.out.println("hex " + hex(bytes(buffer)));
        for (RecordBatch batch : MemoryRecords.readableRecords(buffer).batches())
            describe(batch);
        System.out.println();
    }

    // ---- golden batches

    static List<Compression> codecs() {
        return List.of(Compression.NONE, Compression.gzip().build(), Compression.snappy().build(),
            Compression.lz4().build(), Compression.zstd().build());
    }

    static byte[] text(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    static Header header(String key, String value) {
        return new RecordHeader(key, text(value));
    }

    static ByteBuffer build(MemoryRecordsBuilder builder) {
        return builder.build().buffer();
    }

    static MemoryRecordsBuilder builder(Compression codec, TimestampType type, long offset, long pid, int epoch,
            int sequence, boolean transactional, boolean control) {
        return MemoryRecords.builder(ByteBuffer.allocate(1 << 20), RecordBatch.CURRENT_MAGIC_VALUE, codec, type,
            offset, NOW, pid, (short) epoch, sequence, transactional, control, LEADER_EPOCH);
    }

    static MemoryRecordsBuilder plain(Compression codec, long offset) {
        return builder(codec, TimestampType.CREATE_TIME, offset, -1, -1, -1, false, false);
    }

    static void mixed(MemoryRecordsBuilder b) {
        b.append(1000, text("key"), text("value"), NONE);
        b.append(998, null, text("no key"), NONE);
        b.append(1005, text("tombstone"), null, NONE);
        b.append(-1, null, text(null), NONE);
        b.append(1004, text(""), text(""), new Header[] {
            header("a", "1"), header("a", "2"), header("", ""), header("null", null), header("\u00fcn\u00ef", "\u2713")});
        b.append(2_000_000_000_000L, text("k".repeat(70)), text("v".repeat(300)), NONE);
    }

    static void batches() throws Exception {
        for (Compression codec : codecs()) {
            MemoryRecordsBuilder b = plain(codec, 12_345_678_901L);
            mixed(b);
            batch("mixed-" + codec.type().name, build(b));
        }
        for (Compression codec : codecs()) {
            // Several blocks of every codec, records that span them.
            MemoryRecordsBuilder b = plain(codec, 0);
            for (int i = 0; i < 40; i++)
                b.append(5000 + i, text("key-" + i), text(("line " + i + " ").repeat(500)), NONE);
            if (codec.type() != CompressionType.NONE)
                batch("large-" + codec.type().name, build(b));
        }
        MemoryRecordsBuilder b = builder(Compression.NONE, TimestampType.CREATE_TIME, 10, 4001, 3, 77, false, false);
        mixed(b);
        batch("idempotent", build(b));
        b = builder(Compression.NONE, TimestampType.CREATE_TIME, 10, Long.MAX_VALUE, Short.MAX_VALUE,
            Integer.MAX_VALUE - 2, true, false);
        mixed(b);
        batch("transactional-sequence-wraps", build(b));
        for (Compression codec : codecs()) {
            b = builder(codec, TimestampType.LOG_APPEND_TIME, 0, -1, -1, -1, false, false);
            mixed(b);
            batch("log-append-time-" + codec.type().name, build(b));
        }
        for (ControlRecordType type : List.of(ControlRecordType.ABORT, ControlRecordType.COMMIT)) {
            batch("marker-" + type.name().toLowerCase(Locale.ROOT), MemoryRecords.withEndTransactionMarker(500, NOW,
                LEADER_EPOCH, 4001, (short) 3, new EndTransactionMarker(type, 9)).buffer());
        }
        ByteBuffer room = ByteBuffer.allocate(4096);
        batch("leader-change", MemoryRecords.withLeaderChangeMessage(3, NOW, LEADER_EPOCH, room,
            new LeaderChangeMessage().setLeaderId(1).setVoters(List.of(
                new LeaderChangeMessage.Voter().setVoterId(1)))).buffer());
        batch("snapshot-header", MemoryRecords.withSnapshotHeaderRecord(0, NOW, LEADER_EPOCH,
            ByteBuffer.allocate(4096), new SnapshotHeaderRecord().setLastContainedLogTimestamp(NOW)).buffer());
        batch("snapshot-footer", MemoryRecords.withSnapshotFooterRecord(9, NOW, LEADER_EPOCH,
            ByteBuffer.allocate(4096), new SnapshotFooterRecord()).buffer());
        batch("kraft-version", MemoryRecords.withKRaftVersionRecord(1, NOW, LEADER_EPOCH,
            ByteBuffer.allocate(4096), new KRaftVersionRecord().setKRaftVersion((short) 1)).buffer());
        batch("kraft-voters", MemoryRecords.withVotersRecord(2, NOW, LEADER_EPOCH,
            ByteBuffer.allocate(4096), new VotersRecord()).buffer());
        compacted();
    }

    /** What the cleaner leaves: holes, an empty batch that keeps a sequence, a delete horizon. */
    static void compacted() {
        MemoryRecordsBuilder b = builder(Compression.NONE, TimestampType.CREATE_TIME, 20, 4001, 3, 5, false, false);
        mixed(b);
        batch("compacted-holes", filter(build(b), 0, record -> record.offset() % 2 == 1));
        b = builder(Compression.zstd().build(), TimestampType.CREATE_TIME, 20, 4001, 3, 5, false, false);
        mixed(b);
        batch("compacted-last-gone-zstd", filter(build(b), 0, record -> record.offset() == 21));
        b = builder(Compression.gzip().build(), TimestampType.CREATE_TIME, 20, 4001, 3, 5, true, false);
        mixed(b);
        batch("compacted-empty", filter(build(b), 0, record -> false));
        b = plain(Compression.NONE, 20);
        mixed(b);
        batch("delete-horizon", filter(build(b), 86_400_000, record -> true));
        b = plain(Compression.lz4().build(), 20);
        mixed(b);
        batch("delete-horizon-lz4", filter(build(b), 86_400_000, record -> record.offset() > 21));
    }

    static ByteBuffer filter(ByteBuffer source, long deleteRetentionMs, java.util.function.Predicate<Record> keep) {
        ByteBuffer target = ByteBuffer.allocate(1 << 20);
        MemoryRecords.readableRecords(source).filterTo(new MemoryRecords.RecordFilter(NOW, deleteRetentionMs) {
            @Override
            protected BatchRetentionResult checkBatchRetention(RecordBatch batch) {
                return new BatchRetentionResult(BatchRetention.RETAIN_EMPTY, false);
            }

            @Override
            protected boolean shouldRetainRecord(RecordBatch batch, Record record) {
                return keep.test(record);
            }
        }, target, BufferSupplier.NO_CACHING);
        target.flip();
        return target;
    }

    // ---- verdicts: what a real log says to a client's batch

    static class Policy {
        String timestampType = "CreateTime";
        long before = Long.MAX_VALUE;
        long after = 3_600_000;
        String compression = "producer";
        boolean compact = false;
        int maxMessageBytes = 1_048_588;
        int segmentBytes = 1 << 30;

        static Policy create() {
            return new Policy();
        }

        Policy stamp() {
            timestampType = "LogAppendTime";
            return this;
        }

        Policy within(long before, long after) {
            this.before = before;
            this.after = after;
            return this;
        }

        Policy codec(String name) {
            compression = name;
            return this;
        }

        Policy compact() {
            compact = true;
            return this;
        }

        Policy max(int bytes) {
            maxMessageBytes = bytes;
            return this;
        }

        Policy segment(int bytes) {
            segmentBytes = bytes;
            return this;
        }

        LogConfig config() {
            Map<String, String> map = new HashMap<>();
            map.put("message.timestamp.type", timestampType);
            map.put("message.timestamp.before.max.ms", "" + before);
            map.put("message.timestamp.after.max.ms", "" + after);
            map.put("compression.type", compression);
            map.put("cleanup.policy", compact ? "compact" : "delete");
            map.put("max.message.bytes", "" + maxMessageBytes);
            map.put(segmentBytes < 1 << 20 ? "internal.segment.bytes" : "segment.bytes", "" + segmentBytes);
            return new LogConfig(map);
        }

        public String toString() {
            return String.format("timestamp_type=%s before=%d after=%d compression=%s compact=%s max_message_bytes=%d "
                + "segment_bytes=%d", timestampType, before, after, compression, compact, maxMessageBytes, segmentBytes);
        }
    }

    static class FixedTime implements Time {
        public long milliseconds() {
            return NOW;
        }

        public long nanoseconds() {
            return NOW * 1_000_000;
        }

        public void sleep(long ms) {
        }

        public void waitObject(Object object, Supplier<Boolean> condition, long deadline) {
        }
    }

    static KafkaScheduler scheduler = new KafkaScheduler(1);

    static void verdict(String name, Policy policy, int version, byte[] request) throws Exception {
        System.out.println("case " + name);
        System.out.println("policy " + policy + " version=" + version);
        System.out.println("hex " + hex(request));
        File root = Files.createTempDirectory("golden").toFile();
        File dir = new File(root, "topic-0");
        dir.mkdirs();
        Time time = new FixedTime();
        BrokerTopicStats stats = new BrokerTopicStats(false);
        UnifiedLog log = UnifiedLog.create(dir, policy.config(), FIRST_OFFSET, FIRST_OFFSET, scheduler, stats, time,
            900_000, new ProducerStateManagerConfig(86_400_000, false), 600_000, new LogDirFailureChannel(1), true,
            Optional.of(Uuid.randomUuid()));
        try {
            MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(request));
            ProduceRequest.validateRecords((short) version, records);
            LogAppendInfo info = log.appendAsLeader(records, LEADER_EPOCH, AppendOrigin.CLIENT,
                RequestLocal.noCaching(), VerificationGuard.SENTINEL, (short) 2);
            FileRecords stored = (FileRecords) log.read(FIRST_OFFSET, Integer.MAX_VALUE, FetchIsolation.LOG_END,
                true).records;
            ByteBuffer buffer = ByteBuffer.allocate(stored.sizeInBytes());
            stored.readInto(buffer, 0);
            System.out.printf("accepted first=%d last=%d append_time=%d max_timestamp=%d%n", info.firstOffset(),
                info.lastOffset(), info.logAppendTime(), info.maxTimestamp());
            System.out.println("stored " + hex(bytes(buffer)));
        } catch (RecordValidationException e) {
            StringBuilder indexes = new StringBuilder();
            e.recordErrors().forEach(error -> indexes.append(indexes.isEmpty() ? "" : ",").append(error.batchIndex));
            System.out.println("refused " + Errors.forException(e.invalidException()) + " records=" + indexes);
        } catch (Throwable e) {
            System.out.println("refused " + Errors.forException(e) + " records=");
        } finally {
            log.close();
        }
        System.out.println();
    }

    /** A batch put together field by field, so that each can be wrong. */
    static class Raw {
        long baseOffset = 0;
        Integer length = null;
        int magic = 2;
        int attributes = 0;
        Integer lastDelta = null;
        long baseTimestamp = NOW - 10;
        Long maxTimestamp = null;
        long producerId = -1;
        int epoch = -1;
        int sequence = -1;
        Integer count = null;
        boolean badCrc = false;
        byte[] payload = null;
        List<byte[]> records = new ArrayList<>();

        Raw attributes(int bits) {
            attributes |= bits;
            return this;
        }

        Raw producer(long id, int epoch, int sequence) {
            producerId = id;
            this.epoch = epoch;
            this.sequence = sequence;
            return this;
        }

        Raw count(int count) {
            this.count = count;
            return this;
        }

        Raw lastDelta(int delta) {
            lastDelta = delta;
            return this;
        }

        Raw record(byte[] record) {
            records.add(record);
            return this;
        }

        Raw payload(byte[] payload) {
            this.payload = payload;
            return this;
        }

        Raw codec(Compression codec) throws IOException {
            ByteArrayOutputStream all = new ByteArrayOutputStream();
            for (byte[] record : records)
                all.write(record);
            attributes |= codec.type().id;
            payload = compress(codec, all.toByteArray());
            return this;
        }

        byte[] bytes() throws IOException {
            ByteArrayOutputStream all = new ByteArrayOutputStream();
            for (byte[] record : records)
                all.write(record);
            byte[] body = payload == null ? all.toByteArray() : payload;
            ByteBuffer b = ByteBuffer.allocate(61 + body.length);
            b.putLong(baseOffset);
            b.putInt(length == null ? 49 + body.length : length);
            b.putInt(-1);
            b.put((byte) magic);
            b.putInt(0);
            b.putShort((short) attributes);
            b.putInt(lastDelta == null ? records.size() - 1 : lastDelta);
            b.putLong(baseTimestamp);
            b.putLong(maxTimestamp == null ? baseTimestamp : maxTimestamp);
            b.putLong(producerId);
            b.putShort((short) epoch);
            b.putInt(sequence);
            b.putInt(count == null ? records.size() : count);
            b.put(body);
            CRC32C crc = new CRC32C();
            crc.update(b.array(), 21, b.capacity() - 21);
            b.putInt(17, (int) crc.getValue() + (badCrc ? 1 : 0));
            return b.array();
        }
    }

    static byte[] compress(Compression codec, byte[] bytes) throws IOException {
        ByteBufferOutputStream out = new ByteBufferOutputStream(1024);
        try (OutputStream stream = codec.wrapForOutput(out, (byte) 2)) {
            stream.write(bytes);
        }
        ByteBuffer buffer = out.buffer();
        buffer.flip();
        return bytes(buffer);
    }

    /** Bytes of which numbers are variable-length ones. */
    static byte[] parts(Object... parts) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (Object part : parts) {
            if (part instanceof byte[] bytes) {
                out.write(bytes);
            } else if (part instanceof String text) {
                out.write(text(text));
            } else {
                long value = ((Number) part).longValue();
                long zigzag = (value << 1) ^ (value >> 63);
                for (; (zigzag & ~0x7fL) != 0; zigzag >>>= 7)
                    out.write((int) (zigzag & 0x7f | 0x80));
                out.write((int) zigzag);
            }
        }
        return out.toByteArray();
    }

    static final byte[] ZERO = {0};

    /** A record around a body. */
    static byte[] sized(Object... body) throws IOException {
        byte[] bytes = parts(body);
        return parts(bytes.length, bytes);
    }

    static byte[] rec(int offsetDelta, long timestampDelta, String key, String value) throws IOException {
        return sized(ZERO, timestampDelta, offsetDelta, key == null ? -1 : key.length(), key == null ? "" : key,
            value == null ? -1 : value.length(), value == null ? "" : value, 0);
    }

    static Raw three() throws IOException {
        return new Raw().record(rec(0, 0, "a", "1")).record(rec(1, 5, null, "2")).record(rec(2, 3, "c", null));
    }

    static byte[] join(byte[]... parts) throws IOException {
        return parts((Object[]) parts);
    }

    static void verdicts() throws Exception {
        scheduler.startup();
        codecVerdicts();
        headerVerdicts();
        timestampVerdicts();
        recordVerdicts();
        payloadVerdicts();
        scheduler.shutdown();
    }

    static void judgeInput() throws Exception {
        scheduler.startup();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine())
            verdict("input", Policy.create(), 9, HexFormat.of().parseHex(line.trim()));
        scheduler.shutdown();
    }

    static void codecVerdicts() throws Exception {
        for (Compression codec : codecs()) {
            String from = codec.type().name;
            for (String to : List.of("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"))
                verdict(from + "-to-" + to, Policy.create().codec(to), 9, three().codec(codec).bytes());
            verdict("stamped-" + from, Policy.create().stamp(), 9, three().codec(codec).bytes());
            verdict("stamped-zstd-from-" + from, Policy.create().stamp().codec("zstd"), 9,
                three().codec(codec).bytes());
            verdict("idempotent-" + from, Policy.create(), 9,
                three().producer(4001, 0, 0).codec(codec).bytes());
            verdict("idempotent-to-lz4-from-" + from, Policy.create().codec("lz4"), 9,
                three().producer(4001, 2, 8).codec(codec).bytes());
            verdict("deltas-with-gap-" + from, Policy.create(), 9, new Raw().record(rec(0, 0, "a", "1"))
                .record(rec(2, 0, "b", "2")).lastDelta(1).codec(codec).bytes());
            verdict("deltas-all-zero-" + from, Policy.create(), 9, new Raw().record(rec(0, 0, "a", "1"))
                .record(rec(0, 0, "b", "2")).codec(codec).bytes());
            verdict("deltas-with-gap-to-gzip-" + from, Policy.create().codec("gzip"), 9, new Raw()
                .record(rec(0, 0, "a", "1")).record(rec(-5, 0, "b", "2")).codec(codec).bytes());
            verdict("compacted-no-key-" + from, Policy.create().compact(), 9, three().codec(codec).bytes());
            verdict("count-too-small-" + from, Policy.create(), 9, three().count(2).lastDelta(1).codec(codec).bytes());
            verdict("count-too-large-" + from, Policy.create(), 9, three().count(4).lastDelta(3).codec(codec).bytes());
        }
        verdict("zstd-version-6", Policy.create(), 6, three().codec(Compression.zstd().build()).bytes());
        verdict("zstd-version-7", Policy.create(), 7, three().codec(Compression.zstd().build()).bytes());
        verdict("to-zstd-version-3", Policy.create().codec("zstd"), 3, three().bytes());
        for (int code = 5; code < 8; code++)
            verdict("codec-" + code, Policy.create(), 9, three().attributes(code).bytes());
    }

    static void headerVerdicts() throws Exception {
        Policy any = Policy.create();
        verdict("nothing", any, 9, new byte[0]);
        verdict("header-cut", any, 9, Arrays.copyOf(three().bytes(), 40));
        verdict("records-cut", any, 9, Arrays.copyOf(three().bytes(), three().bytes().length - 1));
        verdict("one-byte-behind", any, 9, join(three().bytes(), ZERO));
        verdict("zeros-behind", any, 9, join(three().bytes(), new byte[100]));
        verdict("two-batches", any, 9, join(three().bytes(), three().bytes()));
        verdict("crc", any, 9, bad(r -> r.badCrc = true));
        for (int magic : new int[] {-1, 0, 1, 3})
            verdict("magic-" + magic, any, 9, bad(r -> r.magic = magic));
        for (int length : new int[] {-1, 0, 13, 14, 48, 49, 1 << 30, Integer.MAX_VALUE})
            verdict("length-" + length, any, 9, bad(r -> r.length = length));
        verdict("base-offset-5", any, 9, bad(r -> r.baseOffset = 5));
        verdict("base-offset-negative", any, 9, bad(r -> r.baseOffset = -1));
        verdict("last-delta-large", any, 9, bad(r -> r.lastDelta = 3));
        verdict("last-delta-small", any, 9, bad(r -> r.lastDelta = 1));
        verdict("last-delta-negative", any, 9, bad(r -> r.lastDelta = -1));
        verdict("last-delta-max", any, 9, bad(r -> r.lastDelta = Integer.MAX_VALUE));
        verdict("count-0", any, 9, bad(r -> r.count = 0));
        verdict("count-negative", any, 9, bad(r -> r.count = -1));
        verdict("count-max", any, 9, bad(r -> r.count = Integer.MAX_VALUE));
        verdict("no-records", any, 9, new Raw().bytes());
        verdict("no-records-delta-0", any, 9, new Raw().lastDelta(0).bytes());
        verdict("no-records-count-1", any, 9, new Raw().lastDelta(0).count(1).bytes());
        verdict("control", any, 9, three().attributes(0x20).bytes());
        verdict("delete-horizon", any, 9, three().attributes(0x40).bytes());
        verdict("attribute-bit-7", any, 9, three().attributes(0x80).bytes());
        verdict("attribute-bit-8", any, 9, three().attributes(0x100).bytes());
        verdict("attribute-bit-15", any, 9, three().attributes(0x8000).bytes());
        verdict("idempotent-at-5", any, 9, three().producer(4001, 0, 5).bytes());
        verdict("idempotent-no-sequence", any, 9, three().producer(4001, 0, -1).bytes());
        verdict("idempotent-no-epoch", any, 9, three().producer(4001, -1, 0).bytes());
        verdict("sequence-without-producer", any, 9, three().producer(-1, -1, 0).bytes());
        verdict("epoch-without-producer", any, 9, three().producer(-1, 0, 0).bytes());
        verdict("producer-minus-5", any, 9, three().producer(-5, 0, 0).bytes());
        verdict("transactional", any, 9, three().attributes(0x10).producer(4001, 0, 0).bytes());
        verdict("transactional-without-producer", any, 9, three().attributes(0x10).bytes());
        int size = three().bytes().length;
        verdict("as-large-as-allowed", Policy.create().max(size), 9, three().bytes());
        verdict("too-large", Policy.create().max(size - 1), 9, three().bytes());
        verdict("too-large-and-bad-crc", Policy.create().max(size - 1), 9, bad(r -> r.badCrc = true));
        verdict("as-large-as-segment", Policy.create().segment(size), 9, three().bytes());
        verdict("larger-than-segment", Policy.create().segment(size - 1), 9, three().bytes());
        Raw blank = new Raw().record(rec(0, 0, "a", "z".repeat(3000))).codec(Compression.gzip().build());
        verdict("too-large-once-plain", Policy.create().max(1000).codec("uncompressed"), 9, blank.bytes());
        verdict("small-enough-packed", Policy.create().max(1000), 9, blank.bytes());
    }

    interface Change {
        void apply(Raw raw);
    }

    static byte[] bad(Change change) throws IOException {
        Raw raw = three();
        change.apply(raw);
        return raw.bytes();
    }

    static void timestampVerdicts() throws Exception {
        Policy tight = Policy.create().within(1000, 500);
        long base = -10;
        long[] deltas = {0, -1000, -1001, 500, 501, Long.MAX_VALUE, Long.MIN_VALUE, -NOW - 1, -NOW - 2, -NOW};
        Raw all = new Raw();
        all.baseTimestamp = NOW;
        for (int i = 0; i < deltas.length; i++) {
            Raw one = new Raw().record(rec(0, deltas[i], "k", "v"));
            one.baseTimestamp = NOW;
            verdict("timestamp-" + deltas[i], tight, 9, one.bytes());
            verdict("timestamp-stamped-" + deltas[i], Policy.create().within(1000, 500).stamp(), 9, one.bytes());
            verdict("timestamp-default-" + deltas[i], Policy.create(), 9, one.bytes());
            all.record(rec(i, Math.max(deltas[i], Long.MIN_VALUE / 2), i % 3 == 0 ? null : "k", "v"));
        }
        verdict("timestamps", tight, 9, all.bytes());
        verdict("timestamps-zstd", tight, 9, all.codec(Compression.zstd().build()).bytes());
        verdict("timestamps-and-keys", Policy.create().within(1000, 500).compact(), 9, all.bytes());
        Raw none = new Raw().record(rec(0, 0, "k", "v")).record(rec(1, 0, "k", "v"));
        none.baseTimestamp = -1;
        verdict("no-timestamps", tight, 9, none.bytes());
        none.baseTimestamp = -2;
        none.maxTimestamp = -1L;
        verdict("timestamps-below-none", Policy.create(), 9, none.bytes());
        Raw wrong = three();
        wrong.maxTimestamp = NOW + 99;
        verdict("max-timestamp-wrong", Policy.create(), 9, wrong.bytes());
        verdict("max-timestamp-wrong-gzip", Policy.create(), 9, wrong.codec(Compression.gzip().build()).bytes());
        Raw right = three();
        right.maxTimestamp = right.baseTimestamp + 5;
        verdict("max-timestamp-right", Policy.create(), 9, right.bytes());
        verdict("claims-append-time", Policy.create(), 9, three().attributes(8).bytes());
        verdict("claims-append-time-stamped", Policy.create().stamp(), 9, three().attributes(8).bytes());
        verdict("claims-append-time-late", tight, 9, bad(r -> {
            r.attributes(8);
            r.maxTimestamp = NOW + 1_000_000;
        }));
        Raw unstamped = three().attributes(8);
        unstamped.baseTimestamp = -1;
        unstamped.maxTimestamp = -1L;
        verdict("claims-append-time-none", Policy.create(), 9, unstamped.bytes());
        verdict("keyed-compacted", Policy.create().compact(), 9,
            new Raw().record(rec(0, 0, "a", "1")).record(rec(1, 0, "", null)).bytes());
        verdict("keyless-compacted", Policy.create().compact(), 9,
            new Raw().record(rec(0, 0, null, "1")).record(rec(1, 0, "b", null)).record(rec(2, 0, null, null)).bytes());
    }

    static void recordVerdict(String name, byte[] record) throws Exception {
        for (Compression codec : List.of(Compression.NONE, Compression.gzip().build())) {
            Raw raw = new Raw().record(rec(0, 0, "a", "1")).record(record).codec(codec);
            verdict("record-" + name + "-" + codec.type().name, Policy.create(), 9, raw.bytes());
            if (codec.type() != CompressionType.NONE)
                verdict("record-" + name + "-gzip-to-zstd", Policy.create().codec("zstd"), 9, raw.bytes());
        }
    }

    static void recordVerdicts() throws Exception {
        byte[] ff = {(byte) 0xff};
        byte[] five = {(byte) 0xff, (byte) 0xff, (byte) 0xff, (byte) 0xff, (byte) 0xff, 1};
        recordVerdict("empty", parts(0));
        recordVerdict("length-negative", parts(-1));
        recordVerdict("length-beyond", parts(100, ZERO, 0, 1, 0, 0, 0));
        recordVerdict("length-short", parts(5, ZERO, 0, 1, 0, 0, 0));
        recordVerdict("length-long", parts(7, ZERO, 0, 1, 0, 0, 0));
        recordVerdict("length-endless", five);
        recordVerdict("attributes", sized(ff, 0, 1, 0, 0, 0));
        recordVerdict("key-beyond", sized(ZERO, 0, 1, 50, "k", 0, 0));
        recordVerdict("key-null-as-minus-9", sized(ZERO, 0, 1, -9, 0, 0));
        recordVerdict("value-beyond", sized(ZERO, 0, 1, 0, 50, "v", 0));
        recordVerdict("value-beyond-by-one", sized(ZERO, 0, 1, 0, 2, "v", 0));
        recordVerdict("value-null-as-minus-9", sized(ZERO, 0, 1, 0, -9, 0));
        recordVerdict("headers-negative", sized(ZERO, 0, 1, 0, 0, -1));
        recordVerdict("headers-too-many", sized(ZERO, 0, 1, 0, 0, 2, 1, "h", 1, "v"));
        recordVerdict("headers-huge", sized(ZERO, 0, 1, 0, 0, Integer.MAX_VALUE, 1, "h", 1, "v"));
        recordVerdict("headers-too-few", sized(ZERO, 0, 1, 0, 0, 1, 1, "h", 1, "v", 1, "h", 1, "v"));
        recordVerdict("header", sized(ZERO, 0, 1, 0, 0, 2, 1, "h", 1, "v", 0, -1));
        recordVerdict("header-key-null", sized(ZERO, 0, 1, 0, 0, 1, -1, 0));
        recordVerdict("header-key-beyond", sized(ZERO, 0, 1, 0, 0, 1, 40, "h", 0));
        recordVerdict("header-value-beyond", sized(ZERO, 0, 1, 0, 0, 1, 1, "h", 40, "v"));
        recordVerdict("header-value-null-as-minus-9", sized(ZERO, 0, 1, 0, 0, 1, 1, "h", -9));
        recordVerdict("number-padded", sized(ZERO, 0, new byte[] {(byte) 0x82, 0}, 0, 0, 0));
        recordVerdict("number-endless", sized(ZERO, 0, 1, five, 0, 0));
        recordVerdict("timestamp-endless", sized(ZERO, join(five, five), 1, 0, 0, 0));
    }

    static void payloadVerdict(String name, int codec, byte[] payload) throws Exception {
        verdict("payload-" + name, Policy.create(), 9, three().attributes(codec).payload(payload).bytes());
    }

    static void payloadVerdicts() throws Exception {
        byte[] plain = join(three().records.toArray(new byte[0][]));
        for (Compression codec : codecs().subList(1, 5)) {
            String name = codec.type().name;
            int id = codec.type().id;
            byte[] packed = compress(codec, plain);
            payloadVerdict(name + "-none", id, new byte[0]);
            payloadVerdict(name + "-plain", id, plain);
            payloadVerdict(name + "-cut-1", id, Arrays.copyOf(packed, packed.length - 1));
            payloadVerdict(name + "-cut-12", id, Arrays.copyOf(packed, packed.length - 12));
            payloadVerdict(name + "-junk-behind", id, join(packed, text("junk")));
            payloadVerdict(name + "-twice", id, join(packed, packed));
            payloadVerdict(name + "-in-two", id, join(compress(codec, Arrays.copyOf(plain, 10)),
                compress(codec, Arrays.copyOfRange(plain, 10, plain.length))));
        }
        payloadVerdict("snappy-raw", 2, org.xerial.snappy.Snappy.compress(plain));
    }
}
