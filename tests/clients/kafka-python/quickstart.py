"""The quickstart with kafka-python: one line a check."""

import sys
import time
import traceback

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

bootstrap, run_id = sys.argv[1:]
topic = f"py-{run_id}"
group = f"py-group-{run_id}"
admin = None


def check(body):
    name = "quickstart-" + body.__name__.replace("_", "-")
    try:
        body()
        print(f"ok {name}", flush=True)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[1].lineno
        text = " ".join(f"{type(error).__name__} {error}".split())
        print(f"FAIL {name} line {where}: {text[:300]}", flush=True)


def consumer(**more):
    settings = dict(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    return KafkaConsumer(**{**settings, **more})


def read(one, count, seconds=20):
    found = []
    end = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < end:
        for records in one.poll(timeout_ms=200).values():
            found.extend(records)
    return found


def produce(values, **more):
    producer = KafkaProducer(bootstrap_servers=bootstrap, **more)
    futures = [producer.send(topic, key=b"k%d" % i, value=b"%d" % i) for i in values]
    offsets = [future.get(timeout=20).offset for future in futures]
    producer.close()
    return offsets


def create_topic():
    global admin
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, 3, 1)])


def list_topics():
    assert topic in admin.list_topics()


def describe_topic():
    (found,) = admin.describe_topics([topic])
    assert len(found["partitions"]) == 3, found


def produce_idempotent():
    produce(range(300), enable_idempotence=True, acks="all")


def consume_from_the_beginning():
    one = consumer()
    one.assign([TopicPartition(topic, p) for p in range(3)])
    one.seek_to_beginning()
    found = read(one, 300)
    one.close()
    assert sorted(int(r.value) for r in found) == list(range(300)), len(found)


def group_commit():
    one = consumer(group_id=group)
    one.subscribe([topic])
    assert len(read(one, 300)) == 300
    one.commit()
    one.close()


def group_resume():
    produce(range(300, 320))
    one = consumer(group_id=group)
    one.subscribe([topic])
    found = read(one, 20)
    extra = read(one, 1, seconds=1)
    one.close()
    assert sorted(int(r.value) for r in found) == list(range(300, 320)), len(found)
    assert not extra


def compression(kind):
    before = produce([1], compression_type=kind)
    produce(range(500), compression_type=kind, linger_ms=20)
    assert before


def compression_gzip():
    compression("gzip")


def compression_lz4():
    compression("lz4")


def compression_zstd():
    compression("zstd")


def delete_topic():
    admin.delete_topics([topic])
    for _ in range(50):
        if topic not in admin.list_topics():
            return
        time.sleep(0.1)
    raise AssertionError("still listed")


for body in (
    create_topic,
    list_topics,
    describe_topic,
    produce_idempotent,
    consume_from_the_beginning,
    group_commit,
    group_resume,
    compression_gzip,
    compression_lz4,
    compression_zstd,
    delete_topic,
):
    check(body)
