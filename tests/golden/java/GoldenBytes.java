// Writes golden bytes: for every message class in Kafka's jars and every version of it, the default instance and
// a few with random fields, as Kafka's own code encodes them.
//
// One line each on standard output: NAME VERSION KIND BYTES, where KIND is d (default) or r (random) and BYTES
// is hexadecimal, "-" if empty.
//
// java -cp 'LIBS/*' GoldenBytes.java LIBS

import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.jar.JarFile;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;

public class GoldenBytes {
    static final String[] JARS = {
        "kafka-clients", "kafka-metadata", "kafka-raft", "kafka-group-coordinator",
        "kafka-transaction-coordinator", "kafka-share-coordinator", "kafka-storage",
    };
    static final int RANDOM_INSTANCES = 4;

    final Random random;

    GoldenBytes(long seed) {
        random = new Random(seed);
    }

    public static void main(String[] args) throws Exception {
        Map<String, Class<?>> classes = new TreeMap<>();
        for (String jar : JARS) {
            Path path;
            try (var files = Files.list(Path.of(args[0]))) {
                path = files.filter(file -> file.getFileName().toString().matches(jar + "-[0-9.]+\\.jar"))
                    .findFirst().orElseThrow();
            }
            try (JarFile file = new JarFile(path.toFile())) {
                for (var entry : (Iterable<java.util.jar.JarEntry>) file.stream()::iterator) {
                    String name = entry.getName();
                    if (!name.endsWith(".class") || name.contains("$")
                            || !(name.contains("/message/") || name.contains("/generated/") || name.contains("/metadata/"))) {
                        continue;
                    }
                    name = name.substring(0, name.length() - 6).replace('/', '.');
                    Class<?> type = Class.forName(name, false, GoldenBytes.class.getClassLoader());
                    if (Message.class.isAssignableFrom(type) && !type.isInterface()) {
                        classes.put(type.getSimpleName().replaceFirst("(Request|Response|Header)Data$", "$1"), type);
                    }
                }
            }
        }
        StringBuilder out = new StringBuilder();
        for (var entry : classes.entrySet()) {
            message(out, entry.getKey(), entry.getValue());
        }
        System.out.print(out);
    }

    static void message(StringBuilder out, String name, Class<?> type) throws Exception {
        Message sample = (Message) type.getDeclaredConstructor().newInstance();
        for (short version = sample.lowestSupportedVersion(); version <= sample.highestSupportedVersion(); version++) {
            out.append(name).append(' ').append(version).append(" d ").append(bytes(sample, version)).append('\n');
            for (int instance = 0; instance < RANDOM_INSTANCES; instance++) {
                GoldenBytes golden = new GoldenBytes(name.hashCode() * 1000L + version * 10L + instance);
                Schema schema = ((Schema[]) type.getField("SCHEMAS").get(null))[version];
                Message message = (Message) golden.struct(type, schema);
                out.append(name).append(' ').append(version).append(" r ").append(bytes(message, version)).append('\n');
            }
        }
    }

    static String bytes(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException("size and content of " + message + " differ");
        }
        return buffer.capacity() == 0 ? "-" : HexFormat.of().formatHex(buffer.array());
    }

    Object struct(Class<?> type, Schema schema) throws Exception {
        Object struct = type.getDeclaredConstructor().newInstance();
        Map<String, Field> fields = new HashMap<>();
        for (Field field : type.getDeclaredFields()) {
            if (!Modifier.isStatic(field.getModifiers())) {
                field.setAccessible(true);
                fields.put(letters(field.getName()), field);
            }
        }
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields tagged) {
                for (var known : new TreeMap<>(tagged.fields()).values()) {
                    if (random.nextInt(4) > 0) {
                        set(struct, fields, known.name, known.type);
                    }
                }
                unknown(struct, fields.get(letters("_unknownTaggedFields")));
            } else {
                set(struct, fields, bound.def.name, bound.def.type);
            }
        }
        return struct;
    }

    void set(Object struct, Map<String, Field> fields, String name, Type type) throws Exception {
        Field field = fields.get(letters(name));
        if (field == null) {
            throw new IllegalStateException(struct.getClass() + " has no " + name + " but " + fields.keySet());
        }
        if (type.isNullable() && random.nextInt(4) == 0) {
            field.set(struct, null);
            return;
        }
        Class<?> kind = field.getType();
        if (Collection.class.isAssignableFrom(kind)) {
            field.set(struct, collection(field, type));
        } else {
            field.set(struct, value(kind, type));
        }
    }

    @SuppressWarnings("unchecked")
    Object collection(Field field, Type type) throws Exception {
        Class<?> kind = field.getType();
        Collection<Object> elements;
        Class<?> element;
        if (kind == List.class) {
            elements = new ArrayList<>();
            element = (Class<?>) ((ParameterizedType) field.getGenericType()).getActualTypeArguments()[0];
        } else {
            elements = (Collection<Object>) kind.getDeclaredConstructor().newInstance();
            element = (Class<?>) ((ParameterizedType) kind.getGenericSuperclass()).getActualTypeArguments()[0];
        }
        Type elementType = type.arrayElementType().orElseThrow();
        for (int left = random.nextInt(4); left > 0; left--) {
            elements.add(value(element, elementType));
        }
        return elements;
    }

    Object value(Class<?> kind, Type type) throws Exception {
        if (type == Type.UINT16) {
            return random.nextInt(1 << 16);
        } else if (type == Type.UNSIGNED_INT32) {
            return random.nextLong() & 0xffffffffL;
        } else if (kind == boolean.class || kind == Boolean.class) {
            return random.nextBoolean();
        } else if (kind == byte.class || kind == Byte.class) {
            return (byte) random.nextInt();
        } else if (kind == short.class || kind == Short.class) {
            return (short) random.nextInt();
        } else if (kind == int.class || kind == Integer.class) {
            return random.nextInt();
        } else if (kind == long.class || kind == Long.class) {
            return random.nextLong();
        } else if (kind == double.class || kind == Double.class) {
            return random.nextDouble();
        } else if (kind == String.class) {
            return text();
        } else if (kind == Uuid.class) {
            return new Uuid(random.nextLong(), random.nextLong());
        } else if (kind == byte[].class) {
            return raw();
        } else if (kind == ByteBuffer.class) {
            return ByteBuffer.wrap(raw());
        } else if (kind == BaseRecords.class) {
            return MemoryRecords.readableRecords(ByteBuffer.wrap(raw()));
        }
        // A structure that may be null has a schema of a class of its own, which is a Schema too.
        return struct(kind, (Schema) type);
    }

    void unknown(Object struct, Field field) throws Exception {
        if (random.nextInt(8) > 0) {
            return;
        }
        List<RawTaggedField> unknown = new ArrayList<>();
        unknown.add(new RawTaggedField(100 + random.nextInt(100), raw()));
        if (random.nextBoolean()) {
            unknown.add(new RawTaggedField(100_000 + random.nextInt(100), raw()));
        }
        field.set(struct, unknown);
    }

    String text() {
        StringBuilder text = new StringBuilder();
        for (int left = random.nextInt(5); left > 0; left--) {
            text.append(random.nextInt(8) == 0 ? "\u00e9" : String.valueOf((char) ('a' + random.nextInt(26))));
        }
        return text.toString();
    }

    byte[] raw() {
        byte[] bytes = new byte[random.nextInt(5)];
        random.nextBytes(bytes);
        return bytes;
    }

    /// Schemas and classes spell a field differently, but with the same letters.
    static String letters(String name) {
        return name.replace("_", "").toLowerCase();
    }
}
