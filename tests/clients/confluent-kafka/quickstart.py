"""The quickstart with confluent-kafka, and the admin calls of librdkafka: one line a check."""

import sys
import time
import traceback

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

bootstrap, run_id = sys.argv[1:]
topic = f"ck-{run_id}"
group = f"ck-group-{run_id}"
admin = AdminClient({"bootstrap.servers": bootstrap})


def check(body):
    name = body.__name__.replace("_", "-")
    try:
        body()
        print(f"ok {name}", flush=True)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[1].lineno
        text = " ".join(f"{type(error).__name__} {error}".split())
        print(f"FAIL {name} line {where}: {text[:300]}", flush=True)


def done(futures):
    return {key: future.result(timeout=20) for key, future in futures.items()}


def eventually(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def consumer(**more):
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    settings.update({key.replace("_", "."): value for key, value in more.items()})
    return Consumer(settings)


def read(one, count, seconds=20):
    found = []
    end = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < end:
        message = one.poll(0.2)
        if message is not None:
            assert message.error() is None, message.error()
            found.append(message)
    return found


def produce(values, to=None, **more):
    settings = {"bootstrap.servers": bootstrap, **{key.replace("_", "."): value for key, value in more.items()}}
    producer = Producer(settings)
    reports = []
    for value in values:
        producer.produce(to or topic, f"value-{value}", f"key-{value}", on_delivery=lambda e, m: reports.append((e, m)))
    assert producer.flush(30) == 0
    assert all(error is None for error, _ in reports), reports
    return [message for _, message in reports]


def create_topic():
    done(admin.create_topics([NewTopic(topic, 3, 1)]))


def list_topics():
    assert len(admin.list_topics(timeout=10).topics[topic].partitions) == 3


def describe_cluster():
    found = admin.describe_cluster().result(timeout=20)
    assert len(found.nodes) == 1 and len(found.cluster_id) == 22, found


def produce_idempotent():
    messages = produce(range(300), enable_idempotence=True)
    ends = {}
    for message in messages:
        assert message.offset() == ends.get(message.partition(), 0)
        ends[message.partition()] = message.offset() + 1


def consume_from_the_beginning():
    one = consumer()
    one.assign([TopicPartition(topic, p, 0) for p in range(3)])
    found = read(one, 300)
    one.close()
    assert len({message.value() for message in found}) == 300, len(found)


def group_commit():
    one = consumer()
    one.subscribe([topic])
    assert len(read(one, 300)) == 300
    committed = one.commit(asynchronous=False)
    one.close()
    assert sum(place.offset for place in committed) == 300, committed


def group_resume():
    produce(range(300, 320))
    one = consumer()
    one.subscribe([topic])
    found = read(one, 20)
    extra = read(one, 1, seconds=1)
    one.close()
    assert len(found) == 20 and not extra, (len(found), len(extra))


def compression_each():
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        name = f"{topic}-{codec}"
        done(admin.create_topics([NewTopic(name, 1, 1)]))
        produce(range(300), to=name, compression_type=codec, linger_ms=50)
        one = consumer(check_crcs=True)
        one.assign([TopicPartition(name, 0, 0)])
        found = read(one, 300)
        one.close()
        assert [m.value().decode() for m in found] == [f"value-{i}" for i in range(300)], (codec, len(found))


def describe_groups():
    found = done(admin.describe_consumer_groups([group]))[group]
    assert found.state.name == "EMPTY", found.state
    listed = admin.list_consumer_groups().result(timeout=20)
    assert any(one.group_id == group for one in listed.valid)


def group_offsets():
    places = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, p) for p in range(3)])
    found = done(admin.list_consumer_group_offsets([places]))[group]
    assert sum(place.offset for place in found.topic_partitions) == 300
    done(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 2)])]))
    found = done(admin.list_consumer_group_offsets([places]))[group]
    assert found.topic_partitions[0].offset == 2, found.topic_partitions


def list_offsets():
    place = TopicPartition(topic, 0)
    found = [
        next(iter(done(admin.list_offsets({place: spec})).values())).offset
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.max_timestamp(), OffsetSpec.for_timestamp(0))
    ]
    assert found[0] == 0 and found[1] > 0 and found[2] < found[1] and found[3] == 0, found


def configs():
    entry = ConfigEntry("retention.ms", "1000000", incremental_operation=AlterConfigOpType.SET)
    done(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]))

    def altered():
        found = done(admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
        return next(iter(found.values()))["retention.ms"].value == "1000000"

    eventually(altered)


def create_partitions():
    done(admin.create_partitions([NewPartitions(topic, 5)]))
    eventually(lambda: len(admin.list_topics(timeout=10).topics[topic].partitions) == 5)


def delete_records():
    found = done(admin.delete_records([TopicPartition(f"{topic}-gzip", 0, 10)]))
    assert next(iter(found.values())).low_watermark == 10
    one = consumer()
    assert one.get_watermark_offsets(TopicPartition(f"{topic}-gzip", 0), timeout=10) == (10, 300)
    one.close()


def an_unknown_topic_is_an_error():
    one = consumer(allow_auto_create_topics=False)
    one.subscribe([f"{topic}-not"])
    message = one.poll(10)
    one.close()
    assert message is not None and message.error().name() == "UNKNOWN_TOPIC_OR_PART", message


def static_member():
    generations = []
    for _ in range(2):
        one = consumer(group_id=f"{group}-static", group_instance_id="one", session_timeout_ms=20000)
        one.subscribe([topic])
        assert len(read(one, 1)) == 1
        generations.append(one.memberid())
        one.close()
    assert all(generations), generations


def cooperative_members():
    settings = dict(group_id=f"{group}-coop", partition_assignment_strategy="cooperative-sticky", heartbeat_interval_ms=300)
    members = [consumer(**settings) for _ in range(2)]
    for one in members:
        one.subscribe([topic])

    def shared():
        for one in members:
            one.poll(0.1)
        owned = [len(one.assignment()) for one in members]
        return min(owned) > 0 and sum(owned) == 5

    eventually(shared, 30)
    for one in members:
        one.close()


def transactions_answer_at_once():
    start = time.monotonic()
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic})
    try:
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(f"{topic}-gzip", "in a transaction")
        producer.commit_transaction(30)
    except KafkaException as answered:
        assert answered.args[0].name() not in ("_TIMED_OUT", "_ALL_BROKERS_DOWN"), answered
    assert time.monotonic() - start < 15, "the answer took too long"


def delete_group():
    done(admin.delete_consumer_groups([group]))


def delete_topic():
    done(admin.delete_topics([topic]))
    eventually(lambda: topic not in admin.list_topics(timeout=10).topics)


for body in (
    create_topic,
    list_topics,
    describe_cluster,
    produce_idempotent,
    consume_from_the_beginning,
    group_commit,
    group_resume,
    compression_each,
    describe_groups,
    group_offsets,
    list_offsets,
    configs,
    create_partitions,
    delete_records,
    an_unknown_topic_is_an_error,
    static_member,
    cooperative_members,
    transactions_answer_at_once,
    delete_group,
    delete_topic,
):
    check(body)
